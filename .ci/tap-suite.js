// Runs the compiled tap test files by plain node, one at a time, and counts their tests.
// Usage: [VIADUCT_TEST_FILE_SECONDS=N] node .ci/tap-suite.js [--long] [PART OF A FILE'S NAME]...
//   --long  files named .long, too, which take minutes, and a line for each test as it ends
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { TapReader } from './tap-reader.js';

/** tap ends a file that takes longer, and names the test that was running. */
const fileSeconds = Number(process.env.VIADUCT_TEST_FILE_SECONDS ?? 120);
/** A file so silent does not even run tap's timer: it blocks, and is killed. */
const silenceMs = (fileSeconds + 30) * 1000;
/** So long may what a test stopped take to be gone, and a file to end after its last test. */
const lingerMs = 3000;

/** The processes that a file started: those of its group, or with its mark in the environment. */
function processesOf(group, mark) {
  const found = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const [state, , processGroup] = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ');
      if (state === 'Z' || state === 'X') continue;
      if (Number(processGroup) === group || readFileSync(`/proc/${pid}/environ`).includes(mark)) {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        found.push({ pid: Number(pid), command });
      }
    } catch (error) {
      // It ended while it was looked at, or is another user's.
      if (!['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(error.code)) throw error;
    }
  }
  return found;
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Of this pid namespace, in which a number means one process. */
const FOLDERS = `viaduct-test-${readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')}-`;

/** Removes the folders of runs that were killed: only those could not do it themselves. */
function removeOrphans() {
  for (const name of readdirSync(tmpdir()).filter((each) => each.startsWith(FOLDERS))) {
    const [pid] = name.slice(FOLDERS.length).split('-');
    if (!existsSync(`/proc/${pid}`)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

/** Runs one file in a process group and a temporary folder of its own: what it leaves is found. */
async function runFile(file, onTest) {
  const reader = new TapReader(onTest);
  const problems = [];
  // A folder of its own also marks what it starts.
  const temporary = mkdtempSync(join(tmpdir(), `${FOLDERS}${process.pid}-`));
  const mark = `TMPDIR=${temporary}`;
  const child = spawn(process.execPath, ['--enable-source-maps', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: {
      ...process.env,
      TAP_TIMEOUT: String(fileSeconds),
      TMPDIR: temporary,
    },
  });
  const group = child.pid;
  const interrupted = (signal) => {
    for (const { pid } of processesOf(group, mark)) kill(pid);
    rmSync(temporary, { recursive: true });
    process.removeListener(signal, interrupted);
    process.kill(process.pid, signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, interrupted);
  const endWith = (problem) => {
    problems.push(problem);
    kill(-group);
  };
  let watch = setTimeout(
    () => endWith(`hung in ${reader.running}; ended after ${silenceMs / 1000} s of silence`),
    silenceMs,
  );

  let ended = false;
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    watch.refresh();
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) reader.read(line);
    if (!reader.finished || ended) return;
    clearTimeout(watch);
    watch = setTimeout(
      () => endWith('did not end after its tests: something keeps it waiting'),
      lingerMs,
    );
  });
  child.stderr.setEncoding('utf8').on('data', (chunk) => reader.lines.push(chunk.trimEnd()));
  const closed = new Promise((done) => child.on('close', done));
  const [status, signal] = await new Promise((done, fail) =>
    child.on('error', fail).on('exit', (...outcome) => done(outcome)),
  );
  ended = true;
  clearTimeout(watch);

  let left = processesOf(group, mark);
  for (let waitedMs = 0; left.length > 0 && waitedMs < lingerMs; waitedMs += 50) {
    await sleep(50);
    left = processesOf(group, mark);
  }
  if (left.length > 0) {
    problems.push(`left processes behind: ${left.map(({ command }) => command).join('; ')}`);
    for (const { pid } of left) kill(pid);
  }
  // What is left even so could hold the pipe open for ever.
  await Promise.race([closed, sleep(lingerMs, undefined, { ref: false })]);
  child.stdout.destroy();
  child.stderr.destroy();
  for (const name of signals) process.removeListener(name, interrupted);

  const files = readdirSync(temporary);
  if (files.length > 0) problems.push(`left files behind in TMPDIR: ${files.join(', ')}`);
  rmSync(temporary, { recursive: true });

  if (reader.complaint !== undefined) problems.push(reader.complaint);
  if (signal !== null) problems.push(`ended by ${signal}`);
  else if (status !== 0 && reader.counts.failed === 0) problems.push(`ended with status ${status}`);
  return { reader, problems };
}

/**
 * Runs the files whose names contain one of `parts`, or all.
 *
 * @param {readonly string[]} parts
 * @param {{ long?: boolean }} options
 * @returns {Promise<{ passed: number, failed: number, skipped: number }>}
 */
export async function runTapSuite(parts = [], { long = false } = {}) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  const files = readdirSync('dist/test', { recursive: true })
    .filter((name) => name.endsWith('.test.js') || (long && name.endsWith('.long.js')))
    .filter((name) => parts.length === 0 || parts.some((part) => name.includes(part)))
    .sort();
  if (files.length === 0) throw new Error(`no test file has a name with ${parts.join(' or ')}`);
  removeOrphans();
  for (const name of files) {
    const started = Date.now();
    if (long) console.log(`test/${name.replace(/js$/, 'ts')}`);
    const onTest = long ? (line) => console.log(`    ${line}`) : undefined;
    const { reader, problems } = await runFile(`dist/test/${name}`, onTest);
    const { counts, skips } = reader;
    if (problems.length > 0) counts.failed += 1;
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    const tally = Object.entries(counts)
      .filter(([, count]) => count > 0)
      .map(([kind, count]) => `${count} ${kind}`)
      .join(', ');
    const verdict = counts.failed === 0 ? 'ok' : 'not ok';
    console.log(`${verdict}  test/${name.replace(/js$/, 'ts')}  ${tally}  (${seconds} s)`);
    if (counts.failed > 0) console.log(reader.lines.map((line) => `    ${line}`).join('\n'));
    if (!long) for (const line of skips) console.log(`    ${line}`);
    for (const problem of problems) console.log(`    NOT OK  ${problem}`);
    for (const kind of Object.keys(total)) total[kind] += counts[kind];
  }
  return total;
}

if (process.argv[1] === import.meta.filename) {
  const { values, positionals } = parseArgs({
    options: { long: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const { passed, failed, skipped } = await runTapSuite(positionals, values);
  if (values.long) console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = failed === 0 ? 0 : 1;
}
