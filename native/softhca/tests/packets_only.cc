// Linked into a test program, it makes the device there one of RoCE that sends all as packets, in a
// network namespace of its own: the loopback interface has room for packets of any path MTU, and no
// other program's packets come.
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

bool bring_loopback_up() {
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  const bool up = ioctl(descriptor, SIOCSIFFLAGS, &request) == 0;
  close(descriptor);
  return up;
}

// Before main, and so before the library looks.
[[maybe_unused]] const bool chosen = [] {
  if (unshare(CLONE_NEWNET) != 0 || !bring_loopback_up())
    perror("no network namespace: the tests run on this host's first address");
  return setenv("VIADUCT_LINK_LAYER", "ethernet", 1) == 0 && setenv("VIADUCT_PACKETS", "1", 1) == 0;
}();

}  // namespace
