/* Bandwidth from rank 0 to rank 1 of a C MPI library: windows of 64 non-blocking messages, each
 * answered once. */
#include "sampling.h"

static unsigned char* buffer;
static unsigned char* window_buffer;
static MPI_Request requests[WINDOW];

/* Messages in flight in a checked exchange, where each has memory of its own: fewer than 64 if
 * large. */
static int checked_window(size_t size_bytes) {
  int messages = checked_messages(size_bytes);
  return messages < WINDOW ? messages : WINDOW;
}

static void wait_for_reply(void) {
  char reply = 0;
  if (rank == 0) {
    MPI_Recv(&reply, 1, MPI_BYTE, 1, REPLY_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  } else {
    MPI_Send(&reply, 1, MPI_BYTE, 0, REPLY_TAG, MPI_COMM_WORLD);
  }
}

static void move_window(unsigned char* first, size_t stride_bytes, size_t size_bytes, int window) {
  for (int slot = 0; slot < window; slot++) {
    unsigned char* bytes = first + (size_t)slot * stride_bytes;
    if (rank == 0) {
      MPI_Isend(bytes, (int)size_bytes, MPI_BYTE, 1, MESSAGE_TAG, MPI_COMM_WORLD, &requests[slot]);
    } else {
      MPI_Irecv(bytes, (int)size_bytes, MPI_BYTE, 0, MESSAGE_TAG, MPI_COMM_WORLD, &requests[slot]);
    }
  }
  MPI_Waitall(window, requests, MPI_STATUSES_IGNORE);
  wait_for_reply();
}

static void prepare(size_t size_bytes, uint32_t seed) {
  if (rank == 0) {
    fill_pattern(buffer, size_bytes, seed);
  } else {
    memset(buffer, 0, size_bytes);
  }
}

static void verify(size_t size_bytes, uint32_t seed) { check_pattern(buffer, size_bytes, seed); }

static void check(size_t size_bytes) {
  int window = checked_window(size_bytes);
  int windows = checked_messages(size_bytes) / window;
  for (int iteration = 0; iteration < windows; iteration++) {
    for (int slot = 0; slot < window; slot++) {
      unsigned char* bytes = window_buffer + (size_t)slot * size_bytes;
      uint32_t seed = seed_of(size_bytes, (uint32_t)iteration, (uint32_t)slot + 1);
      if (rank == 0) {
        fill_pattern(bytes, size_bytes, seed);
      } else {
        memset(bytes, 0, size_bytes);
      }
    }
    move_window(window_buffer, size_bytes, size_bytes, window);
    for (int slot = 0; slot < window; slot++) {
      check_pattern(window_buffer + (size_t)slot * size_bytes, size_bytes,
                    seed_of(size_bytes, (uint32_t)iteration, (uint32_t)slot + 1));
    }
  }
}

static double time_ms(size_t size_bytes, int iterations) {
  double start_ms = now_ms();
  for (int i = 0; i < iterations; i++) move_window(buffer, 0, size_bytes, WINDOW);
  return now_ms() - start_ms;
}

static double megabytes_per_second(size_t size_bytes, int iterations, double elapsed_ms) {
  return (double)size_bytes * WINDOW * iterations / elapsed_ms / 1e3;
}

int main(int argc, char** argv) {
  static const struct exchange bandwidth = {
      .name = "bandwidth",
      .most_iterations_small = 200,
      .most_iterations_large = 40,
      .check = check,
      .prepare = prepare,
      .time_ms = time_ms,
      .verify = verify,
      .figure = megabytes_per_second,
  };
  size_t most_bytes = 0;
  start(argc, argv);
  for (int i = 2; i < argc; i++) {
    size_t size_bytes = strtoul(argv[i], NULL, 10);
    size_t window_bytes = size_bytes * (size_t)checked_window(size_bytes);
    if (window_bytes > most_bytes) most_bytes = window_bytes;
  }
  buffer = allocate(largest_size(argc, argv));
  window_buffer = allocate(most_bytes);
  measure_all(&bandwidth, argc, argv);
  free(buffer);
  free(window_buffer);
  return MPI_Finalize();
}
