// viaduct-hub: joins the links of more than two machines to one network, as an Ethernet switch
// does.
//
// usage: viaduct-hub DESCRIPTOR...
// Each descriptor is an end of a socket pair whose other end a machine has, or a tap interface. A
// frame goes where its destination address was last seen to send from, else to all but its sender.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <vector>

#include "link/address_table.h"

namespace {

using viaduct::link::AddressTable;
using viaduct::link::MacAddress;

constexpr size_t max_frame_bytes = 65536 + 64;
// One sender must not keep the others waiting.
constexpr int max_frames_per_turn = 64;

class Hub {
 public:
  explicit Hub(const std::vector<int>& ends) : frame_(max_frame_bytes) {
    for (const int end : ends) {
      fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK);
      polled_.push_back({.fd = end, .events = POLLIN, .revents = 0});
    }
  }

  int run() {
    for (;;) {
      if (poll(polled_.data(), polled_.size(), -1) < 0 && errno != EINTR) return 1;
      for (size_t port = 0; port < polled_.size(); ++port) {
        if (polled_[port].revents == 0) continue;
        for (int left = max_frames_per_turn; left > 0 && forward_from(port); --left) {
        }
      }
    }
  }

 private:
  bool forward_from(size_t source) {
    const ssize_t bytes = read(polled_[source].fd, frame_.data(), frame_.size());
    if (bytes < 0) return false;
    if (bytes < 14) return true;
    addresses_.learn(MacAddress::at(&frame_[6]), source);
    const auto target = addresses_.find(MacAddress::at(&frame_[0]));
    for (size_t port = 0; port < polled_.size(); ++port) {
      if (port == source || (target && *target != port)) continue;
      // A machine that doesn't take its frames loses them, as on any Ethernet.
      (void)!write(polled_[port].fd, frame_.data(), static_cast<size_t>(bytes));
    }
    return true;
  }

  std::vector<pollfd> polled_;
  std::vector<uint8_t> frame_;
  AddressTable addresses_;
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<int> ends;
  for (int at = 1; at < argc; ++at) ends.push_back(atoi(argv[at]));
  if (ends.size() < 2) {
    fprintf(stderr, "usage: viaduct-hub DESCRIPTOR DESCRIPTOR...\n");
    return 2;
  }
  return Hub(ends).run();
}
