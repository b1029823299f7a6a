#include "link/socket_pair.h"

#include <errno.h>
#include <sys/socket.h>

namespace viaduct::link {

SocketPair make_socket_pair(int buffer_bytes) {
  SocketPair pair;
  if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair.ends) != 0) {
    pair.error = errno;
    return pair;
  }
  for (const int end : pair.ends) {
    // What is on its way counts as the sender's. SO_SNDBUFFORCE goes beyond the system's limit and
    // needs privilege; the plain form takes what the limit leaves.
    if (setsockopt(end, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof buffer_bytes) == 0) {
      continue;
    }
    setsockopt(end, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
  }
  return pair;
}

}  // namespace viaduct::link
