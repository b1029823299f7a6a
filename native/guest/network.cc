#include "guest/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace viaduct::guest {
namespace {

void set_address(ifreq& request, uint32_t address) {
  sockaddr_in socket_address = {};
  socket_address.sin_family = AF_INET;
  socket_address.sin_addr.s_addr = htonl(address);
  memcpy(&request.ifr_addr, &socket_address, sizeof socket_address);
}

}  // namespace

int configure_network(const NetworkRequest& network, std::string& step) {
  ifreq request = {};
  if (network.interface.empty() || network.interface.size() >= sizeof request.ifr_name) {
    step = "interface name";
    return ENODEV;
  }
  memcpy(request.ifr_name, network.interface.data(), network.interface.size());
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) {
    step = "socket";
    return errno;
  }
  int error = 0;
  const auto call = [&](unsigned long operation, const char* name) {
    if (error != 0 || ioctl(socket, operation, &request) == 0) return;
    error = errno;
    step = name;
  };
  if (network.mtu != 0) {
    request.ifr_mtu = static_cast<int>(network.mtu);
    call(SIOCSIFMTU, "SIOCSIFMTU");
  }
  set_address(request, network.address);
  call(SIOCSIFADDR, "SIOCSIFADDR");
  set_address(request, network.prefix == 0 ? 0 : ~uint32_t{0} << (32 - network.prefix));
  call(SIOCSIFNETMASK, "SIOCSIFNETMASK");
  call(SIOCGIFFLAGS, "SIOCGIFFLAGS");
  request.ifr_flags |= IFF_UP | IFF_RUNNING;
  call(SIOCSIFFLAGS, "SIOCSIFFLAGS");
  close(socket);
  return error;
}

}  // namespace viaduct::guest
