/**
 * The launcher's side of PMI-1: one key-value space for a job, and its barriers. Ranks see what others have put after
 * the barrier that follows it; here they see it at once, which the protocol allows.
 */
import type { Duplex } from 'node:stream';

import {
  decodeLine,
  encodeLine,
  KEY_LIMIT,
  KVS_NAME_LIMIT,
  onLines,
  VALUE_LIMIT,
  type Fields,
} from './wire.js';

/** So many bytes may all ranks together publish, each as much as MPICH's largest addresses need many times over. */
const SPACE_BYTES_FOR_EACH_RANK = 1 << 20;

/** What the launcher does about a rank's requests that concern the whole job. */
export interface PmiServerOptions {
  readonly size: number;
  /** Which node each rank is on, by any number: MPICH takes ranks of one node to share its memory. */
  readonly nodes: readonly number[];
  /** A rank asks for the job's end. It is served no more. */
  readonly onAbort: (rank: number, exitCode: number) => void;
}

/**
 * The mapping of ranks to nodes in the form that MPICH reads: `(vector,(0,1,4))` is one block from node 0 on, of 1
 * node, with 4 ranks on each.
 */
export function encodeMapping(nodes: readonly number[]): string {
  const blocks: { node: number; nodes: number; ranks: number }[] = [];
  for (let rank = 0; rank < nodes.length;) {
    const node = nodes[rank];
    let ranks = 1;
    while (nodes[rank + ranks] === node) ranks++;
    rank += ranks;
    const last = blocks.at(-1);
    if (last !== undefined && last.ranks === ranks && last.node + last.nodes === node) last.nodes++;
    else blocks.push({ node, nodes: 1, ranks });
  }
  const parts = blocks.map(({ node, nodes, ranks }) => `(${node},${nodes},${ranks})`);
  return `(vector,${parts.join(',')})`;
}

/** Whether a rank takes part by PMI. */
export type PmiState = 'absent' | 'joined' | 'finalized';

interface Client {
  readonly rank: number;
  readonly stream: Duplex;
  state: PmiState;
  /** Collects a request of several lines, which are not looked at. */
  multiline: boolean;
  inBarrier: boolean;
  /** It has asked for the end: MPICH then sends whatever follows its message in memory, too. */
  hasAborted: boolean;
}

/** Serves the ranks of one job. */
export class PmiServer {
  readonly #options: PmiServerOptions;
  readonly #name = `viaduct_${process.pid}_${Date.now().toString(36)}`;
  readonly #space = new Map<string, string>();
  readonly #clients = new Map<number, Client>();
  #bytes = 0;
  #arrived = 0;

  constructor(options: PmiServerOptions) {
    this.#options = options;
    const mapping = encodeMapping(options.nodes);
    // Without it MPICH compares the names of hosts.
    if (mapping.length <= VALUE_LIMIT) this.#space.set('PMI_process_mapping', mapping);
  }

  /** Serves a rank on its connection until that closes. */
  serve(rank: number, stream: Duplex): void {
    const client: Client = {
      rank,
      stream,
      state: 'absent',
      multiline: false,
      inBarrier: false,
      hasAborted: false,
    };
    this.#clients.set(rank, client);
    onLines(
      stream,
      (line) => this.#obey(client, line),
      (error) => {
        if (!client.hasAborted) stream.destroy(error);
      },
    );
    // What a broken connection means the rank's end will tell.
    stream.on('error', () => {});
  }

  /** What is known of a rank. */
  state(rank: number): PmiState {
    return this.#clients.get(rank)?.state ?? 'absent';
  }

  #obey(client: Client, line: string): void {
    if (client.hasAborted) return;
    const fields = decodeLine(line);
    if (client.multiline) {
      if (line !== 'endcmd') return;
      client.multiline = false;
      this.#answer(client, { cmd: 'spawn_result', rc: '-1', msg: 'spawning_is_not_supported' });
      return;
    }
    if (fields['mcmd'] === 'spawn') {
      client.multiline = true;
      return;
    }
    const { cmd = '' } = fields;
    switch (cmd) {
      case 'init':
        client.state = 'joined';
        this.#answer(client, {
          cmd: 'response_to_init',
          pmi_version: '1',
          pmi_subversion: '1',
          rc: fields['pmi_version'] === '1' ? '0' : '-1',
        });
        return;
      case 'initack':
        // Who connects to a port says who it is, and is told the rest.
        this.#answer(client, { cmd: 'initack', rc: '0' });
        this.#answer(client, { cmd: 'set', size: String(this.#options.size) });
        this.#answer(client, { cmd: 'set', rank: String(client.rank) });
        this.#answer(client, { cmd: 'set', debug: '0' });
        return;
      case 'get_maxes':
        this.#answer(client, {
          cmd: 'maxes',
          kvsname_max: String(KVS_NAME_LIMIT),
          keylen_max: String(KEY_LIMIT),
          vallen_max: String(VALUE_LIMIT),
        });
        return;
      case 'get_my_kvsname':
        this.#answer(client, { cmd: 'my_kvsname', kvsname: this.#name });
        return;
      case 'get_appnum':
        this.#answer(client, { cmd: 'appnum', appnum: '0' });
        return;
      case 'get_universe_size':
        this.#answer(client, { cmd: 'universe_size', size: String(this.#options.size) });
        return;
      case 'put':
        this.#answer(client, { cmd: 'put_result', ...this.#put(fields) });
        return;
      case 'get':
        this.#answer(client, { cmd: 'get_result', ...this.#get(fields) });
        return;
      case 'barrier_in':
        this.#enterBarrier(client);
        return;
      case 'finalize':
        client.state = 'finalized';
        this.#answer(client, { cmd: 'finalize_ack' });
        return;
      case 'abort':
        client.hasAborted = true;
        this.#options.onAbort(client.rank, exitCodeOf(fields['exitcode']));
        return;
      case 'publish_name':
      case 'unpublish_name':
      case 'lookup_name': {
        const answer = `${cmd.replace('_name', '')}_result`;
        this.#answer(client, { cmd: answer, rc: '-1', info: 'names_are_not_supported' });
        return;
      }
      default:
        this.#answer(client, { cmd: `${cmd}_result`, rc: '-1', msg: 'unknown_command' });
    }
  }

  #put({ key = '', value = '' }: Fields): Fields {
    if (key === '' || key.length > KEY_LIMIT) return { rc: '-1', msg: 'bad_key' };
    if (value.length > VALUE_LIMIT) return { rc: '-1', msg: 'value_too_long' };
    if (this.#space.has(key)) return { rc: '-1', msg: `duplicate_key_${key}` };
    this.#bytes += key.length + value.length;
    if (this.#bytes > this.#options.size * SPACE_BYTES_FOR_EACH_RANK) {
      return { rc: '-1', msg: 'key_value_space_is_full' };
    }
    this.#space.set(key, value);
    return { rc: '0', msg: 'success' };
  }

  #get({ key = '' }: Fields): Fields {
    const value = this.#space.get(key);
    if (value === undefined) return { rc: '-1', msg: `key_${key}_not_found`, value: 'unknown' };
    return { rc: '0', msg: 'success', value };
  }

  #enterBarrier(client: Client): void {
    if (client.inBarrier) return;
    client.inBarrier = true;
    if (++this.#arrived < this.#options.size) return;
    this.#arrived = 0;
    for (const other of this.#clients.values()) {
      other.inBarrier = false;
      this.#answer(other, { cmd: 'barrier_out' });
    }
  }

  #answer(client: Client, fields: Fields): void {
    if (!client.stream.destroyed) client.stream.write(encodeLine(fields));
  }
}

function exitCodeOf(text = ''): number {
  const code = /^\d+$/.test(text) ? Number(text) % 256 : 1;
  // An abort is a failure whatever its number.
  return code === 0 ? 1 : code;
}
