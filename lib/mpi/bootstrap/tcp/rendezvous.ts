/**
 * Where ranks meet by TCP, as their environment says:
 *
 * | variable | |
 * | --- | --- |
 * | `VIADUCT_RENDEZVOUS` | HOST:PORT at which rank 0 listens, an address of its host; `[…]:PORT` for IPv6 |
 * | `VIADUCT_JOB_SECRET` | what all ranks of the job have and no stranger has, of 16 characters at least |
 * | `VIADUCT_JOB_SECRET_FILE` | instead, a file of which it is the first line |
 * | `VIADUCT_RANK`, `VIADUCT_SIZE` | instead of what Open MPI's, Slurm's, PMI's or PMIx's launchers say |
 * | `VIADUCT_JOIN_SECONDS` | in which all ranks must have come: 60 |
 * | `VIADUCT_SILENCE_SECONDS` | after which a rank of which nothing is heard has failed: 30 |
 */
import { readFileSync } from 'node:fs';

import { MpiError } from '../../errors.js';
import type { LiaisonOptions } from './liaison.js';

/** Whoever has spoken one line with a rank can try secrets on it as fast as it computes. */
const LEAST_SECRET_CHARACTERS = 16;

type Environment = Readonly<Record<string, string | undefined>>;

/** Ranks that meet by TCP. */
export interface TcpLaunch extends LiaisonOptions {
  readonly by: 'tcp';
}

/** Pairs of variables that say which rank of how many this is; the first that are set hold. */
const PLACES: readonly (readonly [rank: string, size: string])[] = [
  ['VIADUCT_RANK', 'VIADUCT_SIZE'],
  ['OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'],
  ['PMI_RANK', 'PMI_SIZE'],
  ['SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'],
  ['PMIX_RANK', 'VIADUCT_SIZE'],
];

/** As many as an aperture has room for. */
const MOST_RANKS = 65536;

function wrong(message: string, operands: Record<string, unknown>): MpiError {
  return new MpiError('ERR_MPI_ENVIRONMENT', `init: ${message}`, { call: 'init', operands });
}

const wholeNumber = (text: string | undefined): number =>
  text !== undefined && /^\d+$/.test(text) ? Number(text) : NaN;

/**
 * Reads the variables; undefined when they name no rendezvous.
 *
 * @throws MpiError `ERR_MPI_ENVIRONMENT`
 */
export function readRendezvous(env: Environment): TcpLaunch | undefined {
  const address = env['VIADUCT_RENDEZVOUS'];
  if (address === undefined || address === '') return undefined;
  const [, bracketed, plain, portText] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  const port = wholeNumber(portText);
  if (host === undefined || !(port > 0 && port < 65536)) {
    throw wrong(
      `VIADUCT_RENDEZVOUS=${address} is not HOST:PORT, where rank 0 listens; as in 10.0.0.1:7000 or [fd00::1]:7000`,
      { address },
    );
  }
  return {
    by: 'tcp',
    hub: { host, port },
    secret: readSecret(env),
    ...readPlace(env),
    joinMs: seconds(env, 'VIADUCT_JOIN_SECONDS', 60) * 1000,
    silenceMs: seconds(env, 'VIADUCT_SILENCE_SECONDS', 30) * 1000,
  };
}

function readPlace(env: Environment): { rank: number; size: number } {
  const place = PLACES.find(([rank, size]) => env[rank] !== undefined && env[size] !== undefined);
  const rank = wholeNumber(env[place?.[0] ?? '']);
  const size = wholeNumber(env[place?.[1] ?? '']);
  if (size >= 1 && size <= MOST_RANKS && rank < size) return { rank, size };
  const given = place?.map((name) => `${name}=${env[name]}`).join(' and ');
  throw wrong(
    `VIADUCT_RENDEZVOUS is set, and ${given ?? 'no variable'} says which rank of how many this process is; set ` +
      'VIADUCT_RANK and VIADUCT_SIZE, or leave them to mpirun of Open MPI or srun of Slurm',
    { rank, size },
  );
}

function readSecret(env: Environment): string {
  const file = env['VIADUCT_JOB_SECRET_FILE'];
  let secret = env['VIADUCT_JOB_SECRET'];
  if (secret === undefined && file !== undefined) {
    try {
      secret = readFileSync(file, 'utf8').split('\n')[0].trim();
    } catch (cause) {
      throw wrong(`VIADUCT_JOB_SECRET_FILE: ${(cause as Error).message}`, { file });
    }
  }
  if (secret !== undefined && secret.length >= LEAST_SECRET_CHARACTERS) return secret;
  throw wrong(
    `VIADUCT_RENDEZVOUS is set, and the job's secret ${secret === undefined ? 'is not' : 'is too short'}; give all ranks ` +
      `one VIADUCT_JOB_SECRET, or a VIADUCT_JOB_SECRET_FILE, of ${LEAST_SECRET_CHARACTERS} characters at least, such as ` +
      'that of: openssl rand -hex 32',
    {},
  );
}

function seconds(env: Environment, name: string, usual: number): number {
  const text = env[name];
  if (text === undefined) return usual;
  const value = Number(text);
  if (text.trim() !== '' && value >= 1 && value <= 86_400) return value;
  throw wrong(`${name}=${text} is not a number of seconds from 1 to 86400`, { [name]: text });
}
