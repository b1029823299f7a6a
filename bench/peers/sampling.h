/* How the C programs sample: the same sizes, iterations, windows, warm-up and checks as
 * bench/ranks. */
#ifndef VIADUCT_BENCH_SAMPLING_H
#define VIADUCT_BENCH_SAMPLING_H

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MESSAGE_TAG = 1, REPLY_TAG = 2, COUNT_TAG = 3, LARGE_ABOVE_BYTES = 8192, WINDOW = 64 };

static const double sample_ms = 20;

/* What one benchmark does with one size. */
struct exchange {
  const char* name;
  int most_iterations_small;
  int most_iterations_large;
  void (*check)(size_t size_bytes);
  void (*prepare)(size_t size_bytes, uint32_t seed);
  double (*time_ms)(size_t size_bytes, int iterations);
  void (*verify)(size_t size_bytes, uint32_t seed);
  double (*figure)(size_t size_bytes, int iterations, double elapsed_ms);
};

static int rank;

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static uint32_t seed_of(size_t size_bytes, uint32_t iteration, uint32_t slot) {
  uint32_t seed = ((uint32_t)size_bytes + 1) * 0x9e3779b1u;
  seed = (seed ^ (seed >> 15) ^ iteration) * 0x85ebca6bu;
  return (seed ^ (seed >> 13) ^ slot) * 0xc2b2ae35u;
}

static unsigned char pattern(uint32_t seed, size_t i) {
  return (unsigned char)((((uint32_t)i + seed) * 0x9e3779b1u) >> 24);
}

static void fill_pattern(unsigned char* bytes, size_t size_bytes, uint32_t seed) {
  for (size_t i = 0; i < size_bytes; i++) bytes[i] = pattern(seed, i);
}

static void check_pattern(const unsigned char* bytes, size_t size_bytes, uint32_t seed) {
  for (size_t i = 0; i < size_bytes; i++) {
    if (bytes[i] == pattern(seed, i)) continue;
    fprintf(stderr, "rank %d: byte %zu of a message of %zu bytes is %u instead of %u\n", rank, i,
            size_bytes, bytes[i], pattern(seed, i));
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
}

/* Messages of one size that a checked exchange moves: enough to go round a ring of slots. */
static int checked_messages(size_t size_bytes) {
  size_t messages = ((size_t)1 << 20) / (size_bytes ? size_bytes : 1);
  return messages < 4 ? 4 : messages > 1000 ? 1000 : (int)messages;
}

static unsigned char* allocate(size_t size_bytes) {
  void* memory = NULL;
  if (posix_memalign(&memory, 4096, size_bytes ? size_bytes : 1)) {
    fprintf(stderr, "rank %d: no memory for %zu bytes\n", rank, size_bytes);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  memset(memory, 0, size_bytes);
  return memory;
}

static int agree(int count) {
  if (rank == 0) {
    MPI_Send(&count, 1, MPI_INT, 1, COUNT_TAG, MPI_COMM_WORLD);
  } else {
    MPI_Recv(&count, 1, MPI_INT, 0, COUNT_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }
  return count;
}

/* Warms up with 1, 2, 4… iterations until that takes half a sample's time; returns how many make
 * one. What seems slow is tried again, for it may only have been interrupted. */
static int calibrate(const struct exchange* exchange, size_t size_bytes, int most) {
  for (int count = 1;; count = count * 2 < most ? count * 2 : most) {
    double elapsed_ms = exchange->time_ms(size_bytes, count);
    if (agree(elapsed_ms >= sample_ms / 2)) {
      double again_ms = exchange->time_ms(size_bytes, count);
      if (again_ms < elapsed_ms) elapsed_ms = again_ms;
    }
    if (agree(elapsed_ms >= sample_ms / 2 || count >= most)) {
      double wanted = sample_ms / (elapsed_ms > 1e-3 ? elapsed_ms : 1e-3) * count;
      return agree(wanted < 1 ? 1 : wanted > most ? most : (int)wanted);
    }
  }
}

static void measure(const struct exchange* exchange, size_t size_bytes, int samples) {
  int most = size_bytes > LARGE_ABOVE_BYTES ? exchange->most_iterations_large
                                            : exchange->most_iterations_small;
  exchange->check(size_bytes);
  exchange->prepare(size_bytes, seed_of(size_bytes, 0, 0));
  int iterations = calibrate(exchange, size_bytes, most);
  double* figures = malloc(sizeof(double) * (size_t)samples);
  if (!figures) MPI_Abort(MPI_COMM_WORLD, 1);
  for (int sample = 0; sample < samples; sample++) {
    uint32_t seed = seed_of(size_bytes, (uint32_t)sample + 1, 0);
    exchange->prepare(size_bytes, seed);
    MPI_Barrier(MPI_COMM_WORLD);
    double elapsed_ms = exchange->time_ms(size_bytes, iterations);
    figures[sample] = exchange->figure(size_bytes, iterations, elapsed_ms);
    exchange->verify(size_bytes, seed);
  }
  if (rank == 0) {
    printf(
        "{\"transport\":\"mpi\",\"benchmark\":\"%s\",\"sizeBytes\":%zu,\"iterations\":%d,"
        "\"samples\":[",
        exchange->name, size_bytes, iterations);
    for (int sample = 0; sample < samples; sample++) {
      printf("%s%.6g", sample ? "," : "", figures[sample]);
    }
    printf("]}\n");
    fflush(stdout);
  }
  free(figures);
}

/* PROGRAM SAMPLES SIZE... */
static size_t largest_size(int argc, char** argv) {
  size_t largest = 0;
  for (int i = 2; i < argc; i++) {
    size_t size_bytes = strtoul(argv[i], NULL, 10);
    if (size_bytes > largest) largest = size_bytes;
  }
  return largest;
}

static void start(int argc, char** argv) {
  int size = 0;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size != 2 || argc < 3) {
    fprintf(stderr, "needs 2 ranks and arguments SAMPLES SIZE...\n");
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
}

static void measure_all(const struct exchange* exchange, int argc, char** argv) {
  for (int i = 2; i < argc; i++) measure(exchange, strtoul(argv[i], NULL, 10), atoi(argv[1]));
}

#endif
