/** Programs in guests, to a bounded end. */
import { setTimeout as sleep } from 'node:timers/promises';

import type { Test } from 'tap';

import { type Guest, inGuest } from '../../bench/rxe/guests.js';
import type { GuestProcess } from '../../lib/vm/index.js';
import { type Ended, listensOn, type Program } from '../programs/running.js';

/** Many times what a program takes on an emulated machine of a loaded host: only one that hangs is ended. */
const LIMIT_MS = 100_000;
export class GuestProgram implements Program {
  readonly ended: Promise<Ended>;
  readonly #guest: Guest;
  readonly #process: GuestProcess;
  #isAlive = true;
  #output = '';
  #complaints = '';

  constructor(t: Test, guest: Guest, words: readonly string[]) {
    const [command = '', ...args] = words;
    this.#guest = guest;
    this.#process = guest.vm.spawn(command, args);
    this.#process.stdin.end();
    const { stdout, stderr } = this.#process;
    // Apart, so that no line of the one ends in the other.
    stdout.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
    stderr.setEncoding('utf8').on('data', (text: string) => (this.#complaints += text));
    const limit = setTimeout(() => void this.end(`did not end within ${LIMIT_MS} ms`), LIMIT_MS);
    this.ended = this.#process.exited.then(({ exitCode }) => {
      this.#isAlive = false;
      clearTimeout(limit);
      return { status: exitCode, output: this.#output + this.#complaints };
    });
    t.teardown(() => this.end('the test ended before it'));
  }

  async end(reason: string): Promise<void> {
    if (!this.#isAlive) return;
    this.#complaints += `\n[${reason}]\n`;
    this.#process.kill('SIGKILL');
    await this.ended;
  }

  async listening(port: number): Promise<void> {
    while (this.#isAlive) {
      const tables = await inGuest(this.#guest, 'cat /proc/net/tcp /proc/net/tcp6');
      if (listensOn(port, tables)) return;
      await sleep(50);
    }
  }
}
