#include "guest/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/descriptor.h"
#include "guest/write_all.h"

namespace viaduct::guest {
namespace {

int complain(const char* step) {
  fprintf(stderr, "%s: %s\n", step, strerror(errno));
  return 1;
}

// Carries over what is there; false at the end of the stream.
bool carry(int from, int to) {
  char bytes[4096];
  const ssize_t count = read(from, bytes, sizeof bytes);
  if (count < 0 && errno == EINTR) return true;
  return count > 0 && write_all(to, bytes, static_cast<size_t>(count));
}

}  // namespace

int relay_port() {
  signal(SIGPIPE, SIG_IGN);
  Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof address;
  if (!listener.is_open()) return complain("socket");
  if (bind(listener.number(), plain, length) != 0) return complain("bind");
  if (listen(listener.number(), 1) != 0) return complain("listen");
  if (getsockname(listener.number(), plain, &length) != 0) return complain("getsockname");
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);

  pollfd waiting[2] = {{.fd = listener.number(), .events = POLLIN, .revents = 0},
                       {.fd = STDIN_FILENO, .events = 0, .revents = 0}};
  if (poll(waiting, 2, -1) < 0) return complain("poll");
  // The host has hung up before anybody came.
  if (waiting[0].revents == 0) return 0;
  const Descriptor connection(accept4(listener.number(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection.is_open()) return complain("accept");
  listener.reset();

  pollfd ends[2] = {{.fd = connection.number(), .events = POLLIN, .revents = 0},
                    {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0}};
  for (;;) {
    if (poll(ends, 2, -1) < 0 && errno != EINTR) return complain("poll");
    if (ends[0].revents != 0 && !carry(connection.number(), STDOUT_FILENO)) return 0;
    if (ends[1].revents != 0 && !carry(STDIN_FILENO, connection.number())) return 0;
  }
}

}  // namespace viaduct::guest
