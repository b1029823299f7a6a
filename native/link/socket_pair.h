// The two ends of a link between virtual machines: sockets that carry one Ethernet frame a
// datagram.
#pragma once

namespace viaduct::link {

struct SocketPair {
  // Both are closed on exec; -1 when the pair could not be made.
  int ends[2] = {-1, -1};
  // The errno of socketpair(2), or 0.
  int error = 0;
};

// Each end holds about `buffer_bytes` of frames that the other has not taken, as far as the system
// permits.
SocketPair make_socket_pair(int buffer_bytes);

}  // namespace viaduct::link
