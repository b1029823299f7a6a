/* What a program without RDMA has: datagrams of UDP, by the fastest loop that sockets allow: both
 * sides poll without a pause, as perftest's do. One line of JSON a sample.
 *   udp echo ADDRESS PORT                    answers each datagram until an empty one
 *   udp ping ADDRESS PORT ITERATIONS SAMPLES nanoseconds one way at 8 bytes, each exchange timed as
 *                                            perftest does: the mean of their middle half, and of
 * all udp sink ADDRESS PORT SAMPLES            counts datagrams between empty ones udp stream
 * ADDRESS PORT ITERATIONS SAMPLES sends them */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 8, ENDS = 20 };

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct sockaddr_in address_of(const char* address, const char* port) {
  struct sockaddr_in found = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  if (inet_pton(AF_INET, address, &found.sin_addr) != 1) fail(address);
  return found;
}

static int listen_at(const struct sockaddr_in* address) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (const struct sockaddr*)address, sizeof *address)) fail("bind");
  int room = 8 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  return fd;
}

static int connect_to(const struct sockaddr_in* address) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (const struct sockaddr*)address, sizeof *address)) fail("connect");
  return fd;
}

static ssize_t receive(int fd, char* bytes, struct sockaddr_in* from) {
  socklen_t length = sizeof *from;
  for (;;) {
    ssize_t got =
        recvfrom(fd, bytes, BYTES, MSG_DONTWAIT, (struct sockaddr*)from, from ? &length : NULL);
    if (got >= 0) return got;
    if (errno != EAGAIN && errno != EINTR) fail("recvfrom");
  }
}

static void echo(int fd) {
  char bytes[BYTES];
  struct sockaddr_in from;
  ssize_t got;
  while ((got = receive(fd, bytes, &from)) > 0) {
    if (sendto(fd, bytes, (size_t)got, 0, (struct sockaddr*)&from, sizeof from) < 0) fail("sendto");
  }
}

static int by_size(const void* left, const void* right) {
  const double a = *(const double*)left, b = *(const double*)right;
  return (a > b) - (a < b);
}

static void ping(int fd, int iterations, int samples) {
  char bytes[BYTES] = {0};
  double* taken = malloc((size_t)iterations * sizeof *taken);
  if (!taken) fail("malloc");
  for (int sample = 0; sample <= samples; sample++) {
    const double started = now_ns();
    double before = started;
    for (int i = 0; i < iterations; i++) {
      if (send(fd, bytes, BYTES, 0) < 0) fail("send");
      receive(fd, bytes, NULL);
      const double now = now_ns();
      taken[i] = now - before;
      before = now;
    }
    // The first warms up.
    if (!sample) continue;
    qsort(taken, (size_t)iterations, sizeof *taken, by_size);
    const int first = iterations / 4, end = iterations - first;
    double middle = 0;
    for (int i = first; i < end; i++) middle += taken[i];
    printf("{\"latency\":%.1f,\"averageLatency\":%.1f}\n", middle / (end - first) / 2,
           (before - started) / iterations / 2);
  }
  free(taken);
  send(fd, bytes, 0, 0);
}

static void sink(int fd, int samples) {
  char bytes[BYTES];
  for (int sample = 0; sample < samples; sample++) {
    long count = 0;
    double started = 0, ended = 0;
    for (;;) {
      ssize_t got = receive(fd, bytes, NULL);
      if (got == 0 && count > 0) break;
      if (got == 0) continue;
      ended = now_ns();
      if (count++ == 0) started = ended;
    }
    printf("{\"rate\":%.0f}\n", (double)count / (ended - started) * 1e9);
    fflush(stdout);
  }
}

static void stream(int fd, int iterations, int samples) {
  char bytes[BYTES] = {0};
  for (int sample = 0; sample < samples; sample++) {
    for (int i = 0; i < iterations; i++) {
      if (send(fd, bytes, BYTES, 0) < 0 && errno != ENOBUFS) fail("send");
    }
    // An end may be lost as any datagram; the other side passes over those that are too many.
    for (int i = 0; i < ENDS; i++) {
      usleep(10000);
      send(fd, bytes, 0, 0);
    }
  }
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const struct sockaddr_in address = address_of(argv[2], argv[3]);
  const int first = argc > 4 ? atoi(argv[4]) : 0, second = argc > 5 ? atoi(argv[5]) : 0;
  if (!strcmp(argv[1], "echo")) {
    echo(listen_at(&address));
  } else if (!strcmp(argv[1], "ping")) {
    ping(connect_to(&address), first, second);
  } else if (!strcmp(argv[1], "sink")) {
    sink(listen_at(&address), first);
  } else if (!strcmp(argv[1], "stream")) {
    stream(connect_to(&address), first, second);
  } else {
    return 2;
  }
  return 0;
}
