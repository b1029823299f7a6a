/**
 * Jobs: start ranks, pass their output on, end all of them when one fails. Times are in milliseconds.
 *
 * @module viaduct/job
 */
export { HostPlace } from './host-place.js';
export { NETWORK_ADDRESSES } from './rank-environment.js';
export { JobError, JobFailure } from './job-error.js';
export { type JobEvent, type JobOptions, type JobResult } from './job-options.js';
export { Job, runJob } from './job.js';
export { type Place, type RankExit, type RankProcess, type RankStart } from './place.js';
export { resolveProgram } from './program.js';
export { ThreadPlace } from './thread-place.js';
export { exitStatusOf } from './signal-name.js';
