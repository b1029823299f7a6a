/** What `viaduct exec --help` prints. */
export const help = `Usage: viaduct exec [OPTION...] [--] PROGRAM [ARGUMENT...]

Runs an unmodified program of the verbs API over the software HCA, the device
softhca0, which joins the processes of one user on this host without hardware,
and by RoCEv2 those of other hosts.

Options:
  --remap     move the program's registered memory where peers can map it, so
              that they copy it directly (see ARCHITECTURE.md for what it asks)
  --roce      show the device's port as one of RoCE: an Ethernet link layer, no
              LID, no address without a GRH, and a GID for each address of this
              host; programs on other hosts are reached as RoCEv2 packets over
              UDP port 4791, those on this host as ever
  --packets   --roce, and packets within this host, too
  --rings FILE
              packets also through rings in FILE, which lies in memory that the
              programs share across virtual machines; the first lays them out
              in zeros (truncate -s 16M FILE makes them). FILE@OFFSET+BYTES is a
              part of it, as of an aperture. GID 2 is the program's own there
  --pcap FILE write the packets into a capture file for Wireshark; %p in its
              name becomes the number of the process
  --faults LIST
              do to the packets that are sent as bad networks do, for tests;
              LIST is NAME=VALUE,...: loss, duplication, corruption, delay (rates
              from 0 to 1), delay-us (how long at most, default 500), and seed
              (printed if not given)
  -h, --help  show this help

The device's library is put into LD_PRELOAD, after what is there. Signals are
passed on to the program, which ends if this command is killed.

Exit status: the program's; 128 + n if signal n killed it; 2 wrong usage;
126 PROGRAM is not executable; 127 there is no PROGRAM.

Example:
  viaduct exec -- ibv_rc_pingpong &
  viaduct exec -- ibv_rc_pingpong localhost
`;
