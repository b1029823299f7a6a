/**
 * Trees of sysfs, /dev and /proc as they are recorded in fixtures/*.tree, laid out in a temporary folder. A line is
 *   PATH = TEXT      a file
 *   PATH -> TARGET   a symbolic link
 *   pci PATH [driver=NAME] [group=NUMBER]   a PCI function, with the links to and from it that sysfs has
 * and lines indented below a function are relative to it.
 */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';

import { packageRoot } from '../../../lib/addon/index.js';

const FIXTURES = join(packageRoot, 'test', 'vm', 'passthrough', 'fixtures');

export function layOut(root: string, ...names: readonly string[]): string {
  for (const name of names) {
    const text = readFileSync(join(FIXTURES, `${name}.tree`), 'utf8');
    let folder = '';
    for (const line of text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))) {
      if (line.startsWith('pci ')) folder = layOutFunction(root, line);
      else layOutEntry(root, line.startsWith(' ') ? `${folder}/${line.trimStart()}` : line);
    }
  }
  return root;
}

function layOutEntry(root: string, line: string): void {
  const [, path, kind, value] = /^(.*?) (=|->) ?(.*)$/.exec(line) ?? [];
  if (path === undefined || value === undefined) throw new Error(`what is "${line}"?`);
  const full = join(root, path);
  mkdirSync(dirname(full), { recursive: true });
  if (kind === '=') writeFileSync(full, `${value}\n`);
  else symlinkSync(value, full);
}

function layOutFunction(root: string, line: string): string {
  const [, path = '', ...settings] = line.split(' ');
  const address = basename(path);
  const link = (from: string, to: string): void => {
    mkdirSync(join(root, to), { recursive: true });
    layOutEntry(root, `${from} -> ${relative(dirname(from), to)}`);
  };
  link(`/sys/bus/pci/devices/${address}`, path);
  layOutEntry(root, `${path}/driver_override = (null)`);
  for (const setting of settings) {
    const [kind, value = ''] = setting.split('=');
    if (kind === 'driver') {
      link(`${path}/driver`, `/sys/bus/pci/drivers/${value}`);
    } else {
      link(`${path}/iommu_group`, `/sys/kernel/iommu_groups/${value}`);
      link(`/sys/kernel/iommu_groups/${value}/devices/${address}`, path);
    }
  }
  return path;
}
