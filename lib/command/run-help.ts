/** What `viaduct run --help` prints. */
export const help = `Usage: viaduct run -n N [OPTION...] [--] PROGRAM [ARGUMENT...]

Starts N ranks of a program and ends with them. If one fails, the others get a
short while to say where they were, and are ended.

Options:
  -n, --ranks N      how many ranks
  --hosts FILE       lines of HOST:RANKS or HOST slots=RANKS; without -n, as many
                     ranks as they have room for. HOST is this host: ranks on
                     others are started by an engine that has a shell there, as
                     srun --mpi=pmi2 or mpiexec.hydra -f FILE
  --vm[=DRIVER]      run each rank in a virtual machine of its own, which shares
                     the job's aperture with the others; DRIVER is uml (User-Mode
                     Linux, the default) or qemu, or a list that the machines take
                     in turn, in which host is no machine: --vm=uml,qemu,host
  --ranks-per-vm N   so many ranks in each machine, instead of one
  --threads          run the ranks as threads of one process of Node.js, which
                     start faster, share one fate, and are not bound; PROGRAM is
                     node with a script
  --network          join the virtual machines by a network of their own;
                     VIADUCT_NETWORK_ADDRESSES lists the ranks' addresses
  --bind core|none   core (default): a processor for each rank if there are enough
  --env NAME=VALUE   set a variable for the ranks; may be given several times
  --cwd DIR          the ranks' working directory
  --no-label         do not put [rank] in front of each line of output
  --output-dir DIR   write each rank's output to rank-N.out and rank-N.err in DIR
                     instead
  --keep-going       let the others go on when a rank has failed: they learn of it,
                     and may go on without, by revoke, shrink and agree; the job
                     has done well if at least one rank has
  --json             write events and output as lines of JSON
  --timeout SECONDS  end the job as failed if it takes longer
  --heartbeat SECONDS|never
                     end the job as failed if a rank that has joined is stopped,
                     or its machine hangs, for so long (default: 30)
  -h, --help         show this help

Lines of output are never mixed. Rank 0 reads the standard input, the others an
empty one. Ctrl-C and the like are passed on to the ranks; a second one kills.
SIGUSR1 and SIGUSR2 are passed on, too, and end nothing by themselves.

Each rank finds its place in VIADUCT_RANK and VIADUCT_SIZE; programs built with
MPICH find it by PMI-1.

Exit status: 0 if all ranks exited with 0, else the highest of theirs; 128 + n if
signal n killed the rank that failed first, or if signal n ended the job; 124
after a timeout; 1 if a rank could not be started or left the job without
finalizing; 2 wrong usage; 126 PROGRAM is not executable; 127 there is no PROGRAM.

Examples:
  viaduct run -n 2 -- node app.js
  viaduct run --vm -n 2 -- node app.js --size 1024
`;
