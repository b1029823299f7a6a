// Runs the compiled tap test files by plain node, one at a time, and counts their tests.
// Usage: node .ci/tap-suite.js [PART OF A FILE'S NAME]...
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** tap ends a file that takes longer, and names the test that was running. */
const fileSeconds = 120;
/** A file so silent does not even run tap's timer: it blocks, and is killed. */
const silenceMs = (fileSeconds + 30) * 1000;
/** So long may what a test stopped take to be gone, and a file to end after its last test. */
const lingerMs = 3000;

const topLevel = 'its top level';

/** Reads the TAP of one file: its top-level points are its tests. */
class TapReader {
  counts = { passed: 0, failed: 0, skipped: 0 };
  skips = [];
  lines = [];
  running = topLevel;
  /** Whether tap has printed its summary: nothing remains but to end. */
  finished = false;
  #planned;
  #points = 0;
  #diagnosticIndent = -1;

  read(line) {
    this.lines.push(line);
    if (this.#inDiagnostic(line)) return;
    const started = /^# Subtest: (.*)$/.exec(line)?.[1];
    if (started !== undefined) this.running = `"${started}"`;
    const [, planned, skipAll] = /^1\.\.(\d+)(?:\s*# *(.*))?$/.exec(line) ?? [];
    if (planned !== undefined) {
      this.#planned = Number(planned);
      if (planned === '0' && !/^(no tests found)?$/.test(skipAll ?? '')) {
        this.#skip('the whole file', skipAll);
        this.counts.skipped += 1;
      }
    }
    this.finished ||= /^# time=/.test(line);
    const [, indent, not, title, kind, reason] =
      /^(\s*)(not )?ok \d+(?: - )?(.*?)(?: # (SKIP|TODO)\b:? ?(.*?))?(?: # time=.*)?$/i.exec(
        line,
      ) ?? [];
    if (title === undefined) return;
    if (kind !== undefined) this.#skip(title, reason, kind);
    if (indent !== '') return;
    this.running = topLevel;
    this.#points += 1;
    if (kind === undefined) this.counts[not === undefined ? 'passed' : 'failed'] += 1;
    else this.counts.skipped += 1;
  }

  /** What is wrong with the output as a whole. */
  get complaint() {
    if (this.#planned === undefined) return `ended while running ${this.running}`;
    if (this.#planned !== this.#points) return 'did not run the tests that it planned';
    if (this.#points === 0 && this.counts.skipped === 0) return 'has no tests';
    return undefined;
  }

  #skip(title, reason, kind = 'SKIP') {
    this.skips.push(`${kind.toLowerCase()}    ${title}: ${reason || 'NO REASON GIVEN'}`);
  }

  #inDiagnostic(line) {
    const text = line.trim();
    const indent = line.length - line.trimStart().length;
    if (this.#diagnosticIndent >= 0) {
      if (text === '...' && indent === this.#diagnosticIndent) this.#diagnosticIndent = -1;
      return true;
    }
    if (text === '---') this.#diagnosticIndent = indent;
    return this.#diagnosticIndent >= 0;
  }
}

/** Command lines of the processes in a process group, those that ended aside. */
function processesOf(group) {
  const found = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const [state, , processGroup] = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ');
      if (Number(processGroup) !== group || state === 'Z') continue;
      found.push(readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim());
    } catch (error) {
      // It ended while it was looked at.
      if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error;
    }
  }
  return found;
}

function killGroup(group) {
  try {
    process.kill(-group, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Runs one file in a process group of its own, so that all it starts can be found and ended. */
async function runFile(file) {
  const reader = new TapReader();
  const problems = [];
  const child = spawn(process.execPath, ['--enable-source-maps', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, TAP_TIMEOUT: String(fileSeconds) },
  });
  const group = child.pid;
  const interrupted = (signal) => {
    killGroup(group);
    process.removeListener(signal, interrupted);
    process.kill(process.pid, signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, interrupted);
  const endWith = (problem) => {
    problems.push(problem);
    killGroup(group);
  };
  let watch = setTimeout(
    () => endWith(`hung in ${reader.running}; ended after ${silenceMs / 1000} s of silence`),
    silenceMs,
  );

  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    watch.refresh();
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) reader.read(line);
    if (!reader.finished) return;
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
  clearTimeout(watch);

  for (const started = Date.now(); processesOf(group).length > 0; await sleep(50)) {
    if (Date.now() - started < lingerMs) continue;
    problems.push(`left processes behind: ${processesOf(group).join('; ')}`);
    killGroup(group);
    break;
  }
  // A process that left the group may hold the pipe open for ever.
  const abandoned = await Promise.race([closed, sleep(lingerMs, 'open', { ref: false })]);
  if (abandoned === 'open') problems.push('left a process behind that holds its output open');
  child.stdout.destroy();
  child.stderr.destroy();
  for (const name of signals) process.removeListener(name, interrupted);

  if (reader.complaint !== undefined) problems.push(reader.complaint);
  if (signal !== null) problems.push(`ended by ${signal}`);
  else if (status !== 0 && reader.counts.failed === 0) problems.push(`ended with status ${status}`);
  return { reader, problems };
}

/**
 * Runs the files whose names contain one of `parts`, or all.
 *
 * @returns {Promise<{ passed: number, failed: number, skipped: number }>}
 */
export async function runTapSuite(parts = []) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  const files = readdirSync('dist/test', { recursive: true })
    .filter((name) => name.endsWith('.test.js'))
    .filter((name) => parts.length === 0 || parts.some((part) => name.includes(part)))
    .sort();
  if (files.length === 0) throw new Error(`no test file has a name with ${parts.join(' or ')}`);
  for (const name of files) {
    const started = Date.now();
    const { reader, problems } = await runFile(`dist/test/${name}`);
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
    for (const line of [...skips, ...problems.map((problem) => `NOT OK  ${problem}`)]) {
      console.log(`    ${line}`);
    }
    for (const kind of Object.keys(total)) total[kind] += counts[kind];
  }
  return total;
}

if (process.argv[1] === import.meta.filename) {
  const { failed } = await runTapSuite(process.argv.slice(2));
  process.exitCode = failed === 0 ? 0 : 1;
}
