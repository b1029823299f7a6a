/* One-way latency of blocking sends and receives between two ranks of a C MPI library: half a
 * ping-pong. */
#include "sampling.h"

static unsigned char* sent;
static unsigned char* received;

static void ping_pong(size_t size_bytes) {
  int count = (int)size_bytes;
  if (rank == 0) {
    MPI_Send(sent, count, MPI_BYTE, 1, MESSAGE_TAG, MPI_COMM_WORLD);
    MPI_Recv(received, count, MPI_BYTE, 1, MESSAGE_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  } else {
    MPI_Recv(received, count, MPI_BYTE, 0, MESSAGE_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Send(sent, count, MPI_BYTE, 0, MESSAGE_TAG, MPI_COMM_WORLD);
  }
}

static void prepare(size_t size_bytes, uint32_t seed) {
  fill_pattern(sent, size_bytes, seed + (uint32_t)rank);
  memset(received, 0, size_bytes);
}

static void verify(size_t size_bytes, uint32_t seed) {
  check_pattern(received, size_bytes, seed + 1 - (uint32_t)rank);
}

static void check(size_t size_bytes) {
  for (int message = 0; message < checked_messages(size_bytes); message++) {
    uint32_t seed = seed_of(size_bytes, (uint32_t)message, 1);
    prepare(size_bytes, seed);
    ping_pong(size_bytes);
    verify(size_bytes, seed);
  }
}

static double time_ms(size_t size_bytes, int iterations) {
  double start_ms = now_ms();
  for (int i = 0; i < iterations; i++) ping_pong(size_bytes);
  return now_ms() - start_ms;
}

static double one_way_us(size_t size_bytes, int iterations, double elapsed_ms) {
  (void)size_bytes;
  return elapsed_ms * 1e3 / iterations / 2;
}

int main(int argc, char** argv) {
  static const struct exchange latency = {
      .name = "latency",
      .most_iterations_small = 10000,
      .most_iterations_large = 1000,
      .check = check,
      .prepare = prepare,
      .time_ms = time_ms,
      .verify = verify,
      .figure = one_way_us,
  };
  start(argc, argv);
  sent = allocate(largest_size(argc, argv));
  received = allocate(largest_size(argc, argv));
  measure_all(&latency, argc, argv);
  free(sent);
  free(received);
  return MPI_Finalize();
}
