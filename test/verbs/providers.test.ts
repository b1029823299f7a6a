/** Providers that are not there, are none, or lack verbs. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import { softwareHcaPath } from 'viaduct/verbs';

import { packageRoot } from '../../lib/addon/index.js';

const SOURCE = join(packageRoot, 'test', 'verbs', 'programs', 'part_of_a_provider.c');

function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'provider-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Compiles a library that takes the place of the system's; resolves to its folder. */
function provider(t: Test, flags: readonly string[], source = SOURCE): string {
  const folder = temporaryFolder(t);
  const library = join(folder, 'libibverbs.so.1');
  execFileSync('cc', ['-std=gnu11', '-Wall', '-shared', '-fPIC', ...flags, '-o', library, source]);
  return folder;
}

interface Failure {
  readonly type: string;
  readonly code: string;
  readonly message: string;
}

/** Runs expressions in a process that finds its libibverbs in this folder; tells what each threw. */
function failures(
  t: Test,
  folder: string,
  setup: string,
  expressions: readonly string[],
): Record<string, Failure | null> {
  const program = `
    import { listDevices, openDevice } from 'viaduct/verbs';
    const gone = (error) => ({ type: error.constructor.name, code: error.code, message: error.message });
    const told = {};
    ${setup}
    ${expressions.map((each) => `try { ${each}; told[${JSON.stringify(each)}] = null; } catch (error) { told[${JSON.stringify(each)}] = gone(error); }`).join('\n')}
    console.log(JSON.stringify(told));
    process.exit();`;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', program],
    {
      encoding: 'utf8',
      timeout: 60_000,
      env: { ...process.env, LD_LIBRARY_PATH: folder, WHOLE_PROVIDER: softwareHcaPath() },
    },
  );
  t.equal(status, 0, stderr);
  return JSON.parse(stdout) as Record<string, Failure | null>;
}

const SYSTEM = "openDevice(undefined, { provider: 'system' })";

t.test('a library that can not be loaded is an error that names the package', (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'libibverbs.so.1'), 'no library');
  const told = failures(t, folder, '', [SYSTEM, "listDevices('system')", 'listDevices()']);
  for (const each of [SYSTEM, "listDevices('system')"]) {
    t.match(told[each], { type: 'VerbsError', code: 'ERR_VERBS_PROVIDER' });
    t.match(told[each]?.message, /'system' can't be loaded \(.*libibverbs.*\); install libibverbs/);
    t.match(told[each]?.message, /Debian: libibverbs1/);
  }
  t.equal(told['listDevices()'], null, 'who asks for no provider gets what there is');
  t.end();
});

t.test('a library that is no provider says what it lacks', (t) => {
  const folder = temporaryFolder(t);
  const source = join(folder, 'empty.c');
  writeFileSync(source, 'int nothing;\n');
  const told = failures(t, provider(t, [], source), '', [SYSTEM]);
  t.match(told[SYSTEM], { code: 'ERR_VERBS_PROVIDER' });
  t.match(told[SYSTEM]?.message, /is no provider of verbs: it has no function ibv_get_device_list/);
  t.end();
});

t.test('what a provider of devices alone lacks is unsupported', (t) => {
  const calls: Readonly<Record<string, string>> = {
    'device.allocPd()': 'ibv_alloc_pd',
    "device.createCq(16, { channel: 'none' })": 'ibv_create_cq',
    'device.createCq(16)': 'ibv_create_comp_channel',
    'device.queryGid(1, 0)': 'ibv_query_gid',
    'device.queryPkey(1, 0)': 'ibv_query_pkey',
    'await device.nextEvent({ timeoutMs: 5 })': 'ibv_get_async_event',
  };
  const folder = provider(t, ['-DDEVICES_ONLY']);
  const told = failures(t, folder, `const device = ${SYSTEM};`, Object.keys(calls));
  for (const [call, verb] of Object.entries(calls)) {
    t.match(told[call], { type: 'UnsupportedError', code: 'ERR_VERBS_UNSUPPORTED' }, call);
    t.match(told[call]?.message, `${verb} failed with ENOTSUP: this provider or device does not`);
  }
  t.end();
});

t.test('verbs that a provider lacks are unsupported, the others work', (t) => {
  const calls: Readonly<Record<string, string>> = {
    'pd.createSrq()': 'ibv_create_srq',
    'pd.createAh({ dlid: 1 })': 'ibv_create_ah',
    'mr.reregister({ access: [] })': 'ibv_rereg_mr',
    'pd.registerMemory(new Uint8Array(8), [], { iova: 4096n })': 'ibv_reg_mr',
    'pd.registerDmabuf(0, 0n, 8n, 0n)': 'ibv_reg_dmabuf_mr',
    'cq.resize(64)': 'ibv_resize_cq',
    "pd.createQp({ type: 'RC', sendCq: cq, sendOps: ['send'] })": 'ibv_qp_to_qp_ex',
    'qp.query()': 'ibv_query_qp',
    "qp.modify({ qpState: 'INIT' })": 'ibv_query_qp',
    "qp.attachMcast('ff12:0000:0000:0000:0000:0000:0000:0001')": 'ibv_attach_mcast',
    'qp.queryEce()': 'ibv_query_ece',
    'qp.setEce({ vendorId: 0, options: 0, compMask: 0 })': 'ibv_set_ece',
    'qp.explain()': 'viaduct_explain_qp',
  };
  const works = [
    'device.query()',
    'device.queryPort(1)',
    'cq.poll()',
    'mr.slice()',
    'device.close()',
  ];
  const setup = `const device = ${SYSTEM};
    const pd = device.allocPd();
    const cq = device.createCq(16, { channel: 'none' });
    const mr = pd.registerMemory(new Uint8Array(64));
    const qp = pd.createQp({ type: 'RC', sendCq: cq });`;
  const told = failures(t, provider(t, []), setup, [...Object.keys(calls), ...works]);
  for (const [call, verb] of Object.entries(calls)) {
    t.match(told[call], { type: 'UnsupportedError', code: 'ERR_VERBS_UNSUPPORTED' }, call);
    t.match(told[call]?.message, verb);
  }
  for (const call of works) t.equal(told[call], null, call);
  t.end();
});
