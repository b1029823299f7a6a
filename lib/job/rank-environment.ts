/** The environment variables by which a rank learns its place in the job. */

/** Names the ranks' network addresses, in the order of ranks, separated by commas. */
export const NETWORK_ADDRESSES = 'VIADUCT_NETWORK_ADDRESSES';

/** Names the process whose descendants may read a rank's memory, where Yama lets only such do so. */
export const LAUNCHER_PID = 'VIADUCT_LAUNCHER_PID';

/** Names the descriptor over which a program built for PMI-1 talks to the job. */
export const PMI_DESCRIPTOR = 'PMI_FD';

/** Variables that describe a job; a job within a job must not see those of the outer one, whoever started that. */
const JOB_VARIABLES =
  /^(?:VIADUCT_(?:RANK|SIZE|APERTURE|OVERSUBSCRIBED|LAUNCHER_PID|NETWORK_ADDRESSES|RENDEZVOUS|JOB_SECRET|JOB_SECRET_FILE)$|PMI_|PMIX_|MPI_LOCAL|HYDI_|OMPI_COMM_WORLD_)/;

/** What the variables say of one rank. */
export interface RankIdentity {
  readonly rank: number;
  readonly size: number;
  /** The path by which the rank opens the job's aperture. */
  readonly aperture: string;
  /** Whether there are more ranks than processors: waiting then gives the processor up at once. */
  readonly oversubscribed: boolean;
}

/** The rank's environment: the user's, with the variables of its job. */
export function rankEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  identity: RankIdentity,
): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && !JOB_VARIABLES.test(name)) result[name] = value;
  }
  result['VIADUCT_RANK'] = String(identity.rank);
  result['VIADUCT_SIZE'] = String(identity.size);
  result['VIADUCT_APERTURE'] = identity.aperture;
  result['PMI_RANK'] = String(identity.rank);
  result['PMI_SIZE'] = String(identity.size);
  if (identity.oversubscribed) result['VIADUCT_OVERSUBSCRIBED'] = '1';
  return result;
}
