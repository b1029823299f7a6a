#include "link/host_interface.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

namespace viaduct::link {
namespace {

// The bridge has the address; further interfaces of the namespace can be joined to it.
constexpr char bridge_name[] = "viaduct0";
constexpr char tap_name[] = "machines";
// As User-Mode Linux has it; a peer with less says so in its TCP handshake.
constexpr int mtu = 9000;

ifreq request_for(const char* name) {
  ifreq request = {};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  return request;
}

// Steps of make(), each 0 or an errno value.

int open_tap(int& tap) {
  tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap < 0) return errno;
  ifreq request = request_for(tap_name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  return ioctl(tap, TUNSETIFF, &request) == 0 ? 0 : errno;
}

int set_address(int control, uint32_t address, uint32_t prefix_length) {
  ifreq request = request_for(bridge_name);
  auto* place = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
  place->sin_family = AF_INET;
  place->sin_addr.s_addr = htonl(address);
  if (ioctl(control, SIOCSIFADDR, &request) != 0) return errno;
  place->sin_addr.s_addr = htonl(prefix_length == 0 ? 0 : ~0U << (32 - prefix_length));
  return ioctl(control, SIOCSIFNETMASK, &request) == 0 ? 0 : errno;
}

int set_mtu(int control) {
  ifreq request = request_for(tap_name);
  request.ifr_mtu = mtu;
  return ioctl(control, SIOCSIFMTU, &request) == 0 ? 0 : errno;
}

// The bridge takes the MTU of what joins it.
int make_bridge(int control) {
  if (ioctl(control, SIOCBRADDBR, bridge_name) != 0) return errno;
  ifreq request = request_for(bridge_name);
  request.ifr_ifindex = static_cast<int>(if_nametoindex(tap_name));
  return ioctl(control, SIOCBRADDIF, &request) == 0 ? 0 : errno;
}

int set_up(int control, const char* name) {
  ifreq request = request_for(name);
  request.ifr_flags = IFF_UP;
  return ioctl(control, SIOCSIFFLAGS, &request) == 0 ? 0 : errno;
}

void make(HostInterface& made, uint32_t address, uint32_t prefix_length) {
  const auto failed = [&](const char* call, int error) {
    made.call = call;
    made.error = error;
    return error != 0;
  };
  if (failed("unshare", unshare(CLONE_NEWNET) == 0 ? 0 : errno)) return;
  made.network_namespace = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (failed("open the namespace", made.network_namespace >= 0 ? 0 : errno)) return;
  const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (failed("socket", control >= 0 ? 0 : errno)) return;
  (void)(failed("make a tap", open_tap(made.tap)) || failed("set its MTU", set_mtu(control)) ||
         failed("make a bridge", make_bridge(control)) ||
         failed("set the tap up", set_up(control, tap_name)) ||
         failed("set its address", set_address(control, address, prefix_length)) ||
         failed("set it up", set_up(control, bridge_name)) ||
         failed("set the loopback up", set_up(control, "lo")));
  close(control);
}

}  // namespace

HostInterface make_host_interface(uint32_t address, uint32_t prefix_length) {
  HostInterface made;
  std::thread([&] { make(made, address, prefix_length); }).join();
  if (made.error == 0) return made;
  for (int* descriptor : {&made.tap, &made.network_namespace}) {
    if (*descriptor >= 0) close(*descriptor);
    *descriptor = -1;
  }
  return made;
}

}  // namespace viaduct::link
