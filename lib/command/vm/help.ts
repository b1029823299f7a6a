/** What `viaduct vm --help` prints. */
export const help = `Usage: viaduct vm COMMAND [OPTION...]

Virtual machines that run in the background, known by their names to all
commands of one user. Each lives until it is stopped or killed.

Commands:
  boot NAME            boot a machine
      --driver uml|qemu        User-Mode Linux (the default), or QEMU
      --memory SIZE            256M by default
      --vcpus N                processors of the guest, 1 by default
      --program NAME           put a program of the host into the guest instead
                               of all the host's files; may be repeated
      --accelerator kvm|tcg|auto, --machine microvm|q35    of qemu
      --timeout SECONDS        60 by default; also of restore and receive
      --console                show the console while it boots; likewise
  list [--names]       show the machines
  exec NAME [--env NAME=VALUE] [--cwd DIR] [--timeout SECONDS] -- COMMAND...
                       run a command in a machine
  copy FROM TO         copy files; one of the two is NAME:PATH
  console NAME [-f]    show a machine's console; -f: and what comes
  pause NAME, resume NAME      halt a machine, and let it go on     (qemu)
  memory NAME SIZE     take memory from the guest, or give it back  (qemu)
  snapshot NAME FILE   write a machine's state into a new file      (qemu)
  restore NAME FILE    a machine that goes on where a snapshot was taken
  receive NAME SOCKET  wait for a machine that migrates here
  migrate NAME SOCKET  move a machine to where receive waits        (qemu)
  stats NAME           what a machine takes of its host
  stop NAME [--grace SECONDS]  power a machine off in order
  kill NAME            end a machine at once
  completion bash      print completion of commands and names for the shell

  --json               print JSON, for programs
  -h, --help           show this help

Snapshots and migration want a machine booted with --program: they can't take
the host's files along.

Exit status: 0 done; 1 failed; 2 wrong usage; exec ends with its command's.

Example:
  viaduct vm boot web --driver qemu --program busybox
  viaduct vm exec web -- busybox uname -r
  viaduct vm stop web
`;
