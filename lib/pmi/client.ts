/** A rank's side of PMI-1: who it is, what the others publish, and a barrier, before any channel is there. */
import { fstatSync } from 'node:fs';
import { connect, Socket } from 'node:net';
import type { Duplex } from 'node:stream';

import { PmiError } from './errors.js';
import { decodeLine, encodeLine, onLines, type Fields } from './wire.js';

/** How long a launcher may take for an answer that depends on nobody else. */
const ANSWER_MS = 60_000;

type Environment = Readonly<Record<string, string | undefined>>;

const wholeNumber = (text: string | undefined): number =>
  text !== undefined && /^\d+$/.test(text) ? Number(text) : NaN;

/** The variables as they are, for an error. */
function describe(env: Environment): string {
  const names = ['PMI_FD', 'PMI_PORT', 'PMI_ID', 'PMI_RANK', 'PMI_SIZE'];
  return names
    .flatMap((name) => (env[name] === undefined ? [] : [`${name}=${env[name]}`]))
    .join(' ');
}

function inheritedSocket(env: Environment): Socket {
  const fd = wholeNumber(env['PMI_FD']);
  let open = false;
  try {
    open = fstatSync(fd).isSocket();
  } catch {
    // Not a number, or not open: both are told below.
  }
  if (!open) {
    throw new PmiError(
      'ERR_PMI_DESCRIPTOR',
      `the launcher's connection PMI_FD=${env['PMI_FD']} did not reach this process; let the launcher start node ` +
        'itself (mpiexec -n 2 node app.js): npx, npm run and other programs of Node.js do not pass it on',
      { operands: { fd: env['PMI_FD'] } },
    );
  }
  return new Socket({ fd, readable: true, writable: true });
}

function connectedSocket(address: string): Socket {
  const at = address.lastIndexOf(':');
  const port = wholeNumber(address.slice(at + 1));
  if (at <= 0 || !(port > 0 && port < 65536)) {
    throw new PmiError('ERR_PMI_ENVIRONMENT', `PMI_PORT=${address} is not host:port`, {
      operands: { address },
    });
  }
  return connect(port, address.slice(0, at));
}

function tooLate(expected: string, timeoutMs: number): PmiError {
  const seconds = timeoutMs / 1000;
  return new PmiError(
    'ERR_PMI_TIMEOUT',
    `the launcher did not answer with cmd=${expected} within ${seconds} s`,
    { operands: { expected, timeoutMs } },
  );
}

/** A connection to the launcher. While nothing is asked it keeps no event loop alive. */
export class PmiClient {
  #rank = NaN;
  #size = NaN;
  #keyValueSpace = '';
  readonly #stream: Duplex & Partial<Pick<Socket, 'ref' | 'unref'>>;
  /** Lines that nobody has waited for yet. */
  readonly #lines: string[] = [];
  #wake: (() => void) | undefined;
  #broken: PmiError | undefined;
  #spoken = Promise.resolve();

  private constructor(stream: Duplex) {
    this.#stream = stream;
    onLines(
      stream,
      (line) => {
        this.#lines.push(line);
        this.#wake?.();
      },
      (error) => this.#break(error),
    );
    const closed = (cause?: Error): void =>
      this.#break(
        new PmiError('ERR_PMI_CLOSED', 'the launcher has closed its connection; did it end?', {
          ...(cause === undefined ? {} : { cause }),
        }),
      );
    stream.on('error', closed);
    stream.on('close', () => closed());
    this.#stream.unref?.();
  }

  /**
   * Greets the launcher that the variables name.
   *
   * @throws PmiError
   */
  static async open(env: Environment): Promise<PmiClient> {
    const port = env['PMI_PORT'];
    const client = new PmiClient(
      env['PMI_FD'] !== undefined ? inheritedSocket(env) : connectedSocket(port ?? ''),
    );
    try {
      if (env['PMI_FD'] !== undefined) {
        client.#rank = wholeNumber(env['PMI_RANK']);
        client.#size = wholeNumber(env['PMI_SIZE']);
      } else {
        await client.#introduce(env['PMI_ID'] ?? '');
      }
      await client.#greet(env);
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  /** As `open`, over a stream that stands already; for tests. */
  static async over(stream: Duplex, rank: number, size: number): Promise<PmiClient> {
    const client = new PmiClient(stream);
    client.#rank = rank;
    client.#size = size;
    await client.#greet({});
    return client;
  }

  /** From 0 to `size - 1`. */
  get rank(): number {
    return this.#rank;
  }

  /** How many ranks the job has. */
  get size(): number {
    return this.#size;
  }

  /** Publishes a value, which others see after the next barrier. Printable ASCII without spaces. */
  async put(key: string, value: string): Promise<void> {
    await this.#ask({ cmd: 'put', kvsname: this.#keyValueSpace, key, value }, 'put_result');
  }

  /** What some rank has published. */
  async get(key: string): Promise<string> {
    const answer = await this.#ask({ cmd: 'get', kvsname: this.#keyValueSpace, key }, 'get_result');
    return answer['value'] ?? '';
  }

  /** Resolves when every rank has come here; however long that takes. */
  async barrier(): Promise<void> {
    await this.#ask({ cmd: 'barrier_in' }, 'barrier_out', 0);
  }

  /** Takes leave of the launcher, so that it does not take this process's end for a failure. */
  async finalize(): Promise<void> {
    await this.#ask({ cmd: 'finalize' }, 'finalize_ack');
    this.close();
  }

  /** Lets go of the launcher without a word. */
  close(): void {
    this.#stream.destroy();
  }

  /** Where the launcher gave a port instead of a descriptor, it tells the rank only now. */
  async #introduce(id: string): Promise<void> {
    await this.#ask({ cmd: 'initack', pmiid: id }, 'initack');
    while (!(this.#rank >= 0 && this.#size >= 1)) {
      const { size, rank } = await this.#answer('set');
      if (size !== undefined) this.#size = wholeNumber(size);
      if (rank !== undefined) this.#rank = wholeNumber(rank);
    }
    await this.#answer('set');
  }

  async #greet(env: Environment): Promise<void> {
    if (!(this.#size >= 1 && this.#rank < this.#size)) {
      throw new PmiError(
        'ERR_PMI_ENVIRONMENT',
        `${describe(env)} name no rank of a job; leave these variables to the launcher, or unset all of them`,
      );
    }
    // Slurm's plugin scans for these two in this order.
    const version = { pmi_version: '1', pmi_subversion: '1' };
    await this.#ask({ cmd: 'init', ...version }, 'response_to_init');
    const { kvsname } = await this.#ask({ cmd: 'get_my_kvsname' }, 'my_kvsname');
    this.#keyValueSpace = kvsname ?? '';
  }

  async #ask(fields: Fields, answer: string, timeoutMs = ANSWER_MS): Promise<Fields> {
    // One request at a time is all that the protocol knows.
    const turn = this.#spoken;
    let over = (): void => {};
    this.#spoken = new Promise((resolve) => (over = resolve));
    await turn;
    try {
      if (this.#broken !== undefined) throw this.#broken;
      this.#stream.write(encodeLine(fields));
      return await this.#answer(answer, fields, timeoutMs);
    } finally {
      over();
    }
  }

  async #answer(expected: string, request?: Fields, timeoutMs = ANSWER_MS): Promise<Fields> {
    const line = await this.#line(expected, timeoutMs);
    const fields = decodeLine(line);
    const { cmd = '', rc = '0', msg = 'no reason given' } = fields;
    if (cmd !== expected) {
      throw new PmiError(
        'ERR_PMI_PROTOCOL',
        `the launcher answered ${JSON.stringify(line.slice(0, 80))} where PMI-1 has cmd=${expected}; start this ` +
          'program by a launcher that speaks PMI-1, such as viaduct run, mpiexec.hydra or srun --mpi=pmi2',
        { operands: { expected, line } },
      );
    }
    if (rc !== '0') {
      throw new PmiError(
        'ERR_PMI_REFUSED',
        `the launcher refused ${request?.['cmd'] ?? cmd}: ${msg}`,
        {
          operands: { ...request },
        },
      );
    }
    return fields;
  }

  async #line(expected: string, timeoutMs: number): Promise<string> {
    const timer =
      timeoutMs === 0
        ? undefined
        : setTimeout(() => this.#break(tooLate(expected, timeoutMs)), timeoutMs);
    this.#stream.ref?.();
    try {
      for (;;) {
        const line = this.#lines.shift();
        if (line !== undefined) return line;
        if (this.#broken !== undefined) throw this.#broken;
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      clearTimeout(timer);
      this.#stream.unref?.();
    }
  }

  #break(error: PmiError): void {
    this.#broken ??= error;
    this.#wake?.();
  }
}
