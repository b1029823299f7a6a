/** A program built with MPICH for tests, and what is missing to build or start it. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const folders = (process.env['PATH'] ?? '').split(delimiter);
const missing = ['mpiexec.hydra', 'mpicc.mpich'].filter(
  (name) => !folders.some((folder) => existsSync(join(folder, name))),
);

/** What tap takes as `skip`: false where MPICH is installed. */
export const withoutMpich =
  missing.length === 0
    ? false
    : `${missing.join(', ')} not installed; apt-get install mpich libmpich-dev`;

/**
 * The source of a program that prints the sum of all ranks on each; rank 1 then ends as the first argument says.
 */
export const EXCHANGE = `
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  int rank, sum;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  printf("sum %d\\n", sum);
  if (argc > 1 && rank == 1 && strcmp(argv[1], "abort") == 0) MPI_Abort(MPI_COMM_WORLD, 7);
  if (argc > 1 && rank == 1 && strcmp(argv[1], "exit") == 0) _Exit(0);
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Finalize();
  return 0;
}`;

/** Compiles `exchange.c` of a folder; the program's path. */
export function compileExchange(folder: string): string {
  const program = join(folder, 'exchange');
  execFileSync('mpicc.mpich', ['-o', program, `${program}.c`]);
  return program;
}
