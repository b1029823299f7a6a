// Reads the output of one tap test file, and counts its tests.
const topLevel = 'its top level';

/** Reads the TAP of one file: its top-level points are its tests. */
export class TapReader {
  counts = { passed: 0, failed: 0, skipped: 0 };
  skips = [];
  lines = [];
  running = topLevel;
  /** Whether tap has printed its summary: nothing remains but to end. */
  finished = false;
  #planned;
  #points = 0;
  #diagnosticIndent = -1;
  #onTest;

  /** @param onTest is called with a line for each test that has ended, and for each comment beside them */
  constructor(onTest = () => {}) {
    this.#onTest = onTest;
  }

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
    const comment = /^# (?!Subtest: |\{ total: |time=)(.*)$/.exec(line)?.[1];
    if (comment !== undefined) this.#onTest(`# ${comment}`);
    const [, indent, not, title, kind, reason] =
      /^(\s*)(not )?ok \d+(?: - )?(.*?)(?: # (SKIP|TODO)\b:? ?(.*?))?(?: # time=.*)?$/i.exec(
        line,
      ) ?? [];
    if (title === undefined) return;
    if (kind !== undefined) this.#skip(title, reason, kind);
    if (indent !== '') return;
    this.running = topLevel;
    this.#points += 1;
    if (kind !== undefined) {
      this.counts.skipped += 1;
      this.#onTest(this.skips.at(-1));
    } else if (not === undefined) {
      this.counts.passed += 1;
      this.#onTest(`ok      ${title}`);
    } else {
      this.counts.failed += 1;
      this.#onTest(`NOT OK  ${title}`);
    }
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
