/** Which launcher started this process, by the variables that it sets, and what those say. */
import { isPmiOffered } from '../../pmi/offer.js';
import { MpiError } from '../errors.js';
import { readRendezvous, type TcpLaunch } from './tcp/rendezvous.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** What `viaduct run` tells a rank. */
export interface OwnLaunch {
  readonly by: 'viaduct';
  readonly rank: number;
  readonly size: number;
  readonly oversubscribed: boolean;
  readonly launcherPid: number | undefined;
}

/** How this process was started. */
export type Launch = OwnLaunch | TcpLaunch | { readonly by: 'pmi' } | { readonly by: 'nobody' };

/** A launcher whose protocol is not spoken here: its variable for the number of ranks, and what to use instead. */
const STRANGERS: readonly {
  readonly size: string;
  readonly who: string;
  readonly instead: string;
}[] = [
  {
    size: 'OMPI_COMM_WORLD_SIZE',
    who: 'mpirun of Open MPI, which speaks PMIx',
    instead: 'viaduct run -n N, or mpiexec.hydra -n N of MPICH',
  },
  {
    // Set for the tasks of srun alone, not in the scripts of sbatch.
    size: 'SLURM_STEP_NUM_TASKS',
    who: 'srun without PMI-1',
    instead: 'srun --mpi=pmi2',
  },
];

/**
 * Reads the variables of launchers.
 *
 * @throws MpiError `ERR_MPI_ENVIRONMENT` when they make no sense, `ERR_MPI_LAUNCHER` when the launcher speaks
 *   something else.
 */
export function findLauncher(env: Environment): Launch {
  const tcp = readRendezvous(env);
  if (tcp !== undefined) return tcp;
  if (!isNested(env)) {
    const own = readOwn(env);
    if (own !== undefined) return own;
  }
  if (isPmiOffered(env)) return { by: 'pmi' };
  for (const { size, who, instead } of STRANGERS) {
    if (Number(env[size] ?? 1) > 1) {
      throw new MpiError(
        'ERR_MPI_LAUNCHER',
        `init: this program was started as one of ${env[size]} by ${who}; start it by ${instead}, or give all ` +
          `ranks VIADUCT_RENDEZVOUS and VIADUCT_JOB_SECRET to meet by TCP, or unset ${size} to run alone`,
        { call: 'init', operands: { [size]: env[size] } },
      );
    }
  }
  if (env['PMIX_RANK'] !== undefined && env['OMPI_COMM_WORLD_SIZE'] === undefined) {
    throw new MpiError(
      'ERR_MPI_LAUNCHER',
      `init: PMIX_RANK=${env['PMIX_RANK']}: this program was started by a launcher that speaks PMIx; start it by ` +
        'viaduct run -n N, mpiexec.hydra -n N or srun --mpi=pmi2, or give all ranks VIADUCT_RENDEZVOUS, ' +
        'VIADUCT_JOB_SECRET and VIADUCT_SIZE to meet by TCP, or unset PMIX_RANK to run alone',
      { call: 'init', operands: { rank: env['PMIX_RANK'] } },
    );
  }
  return { by: 'nobody' };
}

/** What other launchers give their ranks, and `viaduct run` takes from its own. */
const NEARER = ['HYDI_CONTROL_FD', 'MPI_LOCALRANKID', 'OMPI_COMM_WORLD_RANK', 'PMIX_RANK'];

/** Whether another launcher started this process within a rank of `viaduct run`, whose variables it has inherited. */
function isNested(env: Environment): boolean {
  if (env['VIADUCT_RANK'] === undefined) return false;
  const isOthers = (theirs: string | undefined, ours: string | undefined): boolean =>
    theirs !== undefined && theirs !== ours;
  return (
    NEARER.some((name) => env[name] !== undefined) ||
    isOthers(env['PMI_RANK'], env['VIADUCT_RANK']) ||
    isOthers(env['PMI_SIZE'], env['VIADUCT_SIZE'])
  );
}

function readOwn(env: Environment): OwnLaunch | undefined {
  const rank = env['VIADUCT_RANK'];
  const size = env['VIADUCT_SIZE'];
  if (rank === undefined && size === undefined) return undefined;
  const number = (text: string | undefined): number =>
    text !== undefined && /^\d+$/.test(text) ? Number(text) : NaN;
  if (!(number(size) >= 1 && number(rank) < number(size))) {
    throw new MpiError(
      'ERR_MPI_ENVIRONMENT',
      `init: VIADUCT_RANK=${rank ?? ''} and VIADUCT_SIZE=${size ?? ''} name no rank of a job; ` +
        'leave them to `viaduct run`, or unset both',
      { call: 'init', operands: { rank, size } },
    );
  }
  const launcherPid = number(env['VIADUCT_LAUNCHER_PID']);
  return {
    by: 'viaduct',
    rank: number(rank),
    size: number(size),
    oversubscribed: env['VIADUCT_OVERSUBSCRIBED'] === '1',
    launcherPid: Number.isNaN(launcherPid) ? undefined : launcherPid,
  };
}
