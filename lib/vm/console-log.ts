/** What a guest wrote on its console: the last of it, up to a limit. */

const LIMIT_CHARACTERS = 256 * 1024;
const TAIL_LINES = 12;

/** Text of a console, line by line. */
export class ConsoleLog {
  #text = '';
  #unfinished = '';
  readonly #onLine: (line: string) => void;

  /** @param onLine is called with each complete line, without its end. */
  constructor(onLine: (line: string) => void = () => {}) {
    this.#onLine = onLine;
  }

  /** The last 256 Ki characters. */
  get text(): string {
    return this.#text;
  }

  /**
   * Up to 12 lines that are not empty: the last, or those around the last that matches `focus`, as what led to a
   * panic stands before it and a long trace after it.
   */
  tail(focus?: RegExp): string {
    const lines = this.#text.split('\n').filter((line) => line.trim() !== '');
    const found = focus === undefined ? -1 : lines.findLastIndex((line) => focus.test(line));
    const end = found < 0 ? lines.length : found + TAIL_LINES / 2;
    return lines.slice(Math.max(end - TAIL_LINES, 0), end).join('\n');
  }

  /** Adds text as it comes, cut anywhere. */
  append(text: string): void {
    const clean = text.replaceAll('\r', '');
    this.#text = (this.#text + clean).slice(-LIMIT_CHARACTERS);
    const lines = (this.#unfinished + clean).split('\n');
    // A guest that never ends its line must not fill the host's memory.
    this.#unfinished = (lines.pop() ?? '').slice(-LIMIT_CHARACTERS);
    for (const line of lines) this.#onLine(line);
  }
}
