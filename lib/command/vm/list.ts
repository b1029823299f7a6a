/** `viaduct vm list`, `stats`: what machines there are, and what one of them takes. */
import { NamedMachine, type MachineStatus } from '../../vm/index.js';
import { formatSize, parseWords, printJson } from './options.js';

function formatTime(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

function row(status: MachineStatus): string[] {
  const { name, state, driver, accelerator, kernel, uptimeMs, reason } = status;
  return [
    name,
    state,
    accelerator === 'none' ? driver : `${driver} (${accelerator})`,
    formatTime(uptimeMs),
    kernel,
    // Its first line says it; the rest is the console's.
    reason?.split('\n')[0] ?? '',
  ];
}

export async function list(args: readonly string[]): Promise<number> {
  const options = { json: { type: 'boolean' }, names: { type: 'boolean' } } as const;
  const { values } = parseWords(args, options, '', 0);
  const machines = await NamedMachine.list();
  if (values['json'] === true) {
    printJson(machines);
    return 0;
  }
  if (values['names'] === true) {
    process.stdout.write(machines.map(({ name }) => `${name}\n`).join(''));
    return 0;
  }
  if (machines.length === 0) {
    process.stdout.write('no machine; viaduct vm boot NAME boots one\n');
    return 0;
  }
  const rows = [['NAME', 'STATE', 'DRIVER', 'UP', 'KERNEL', 'REASON'], ...machines.map(row)];
  const widths = rows[0]?.map((_, column) =>
    Math.max(...rows.map((cells) => cells[column]?.length ?? 0)),
  );
  for (const cells of rows) {
    const line = cells.map((cell, column) => cell.padEnd(widths?.[column] ?? 0)).join('  ');
    process.stdout.write(`${line.trimEnd()}\n`);
  }
  return 0;
}

export async function stats(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseWords(
    args,
    { json: { type: 'boolean' } },
    'the name of a machine',
    1,
  );
  const machine = await NamedMachine.open(positionals[0] ?? '');
  const [status, taken] = await Promise.all([machine.status(), machine.stats()]);
  if (values['json'] === true) {
    printJson({ ...status, ...taken });
    return 0;
  }
  const { bootPhases } = status;
  const { guestMemory } = taken;
  const lines = [
    ['processor time', `${(taken.cpuMs / 1000).toFixed(2)} s`],
    ['memory of the host', formatSize(taken.residentBytes)],
    ...(guestMemory === undefined
      ? []
      : [
          [
            'memory in the guest',
            `${formatSize(guestMemory.totalBytes - guestMemory.freeBytes)} of ${formatSize(guestMemory.totalBytes)} used`,
          ],
        ]),
    ['kernel’s first line', `${(bootPhases.kernelMs / 1000).toFixed(2)} s after the start`],
    ['agent ready', `${(bootPhases.agentMs / 1000).toFixed(2)} s after the start`],
  ];
  for (const [what = '', figure = ''] of lines) {
    process.stdout.write(`${what.padEnd(22)}${figure}\n`);
  }
  return 0;
}
