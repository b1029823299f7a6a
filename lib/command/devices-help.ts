/** What `viaduct devices --help` prints. */
export const help = `Usage: viaduct devices [OPTION...] [DEVICE...]

Lists the devices of all providers of verbs, hardware first, the software HCA
last, with what each has: the attributes that ibv_devinfo -v shows.

Options:
  --counters             what became of the packets (RoCEv2 over UDP) of each
                         process that uses the software HCA now: how many came
                         and went, and why some were dropped
  --json                 print JSON, for programs; 64-bit numbers are strings
  --provider NAME        only those of one provider: system or softhca
  -h, --help             show this help

Exit status: 0 done; 1 failed, or there is no such device; 2 wrong usage.

Example:
  viaduct devices --json
`;
