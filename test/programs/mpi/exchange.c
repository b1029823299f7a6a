/* Ranks that send each other messages of all sizes and check every byte: exit status 0 if all are
 * right. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { largest = 4 << 20, rounds = 3 };

/* Empty, small, and on both sides of where libraries go from eager to rendezvous. */
static const int sizes[] = {0,    1,    8,    63,   64,    65,     1000,
                            4096, 8191, 8192, 8193, 65536, 262145, largest};
enum { size_count = sizeof sizes / sizeof *sizes };

static int rank, ranks;

static unsigned char byte_of(int sender, int message, int at) {
  const unsigned mixed =
      (unsigned)(sender * 131 + message * 31 + 7) * 2654435761u + (unsigned)at * 40503u;
  return (unsigned char)(mixed >> 13);
}

static void fill(unsigned char* buffer, int bytes, int message) {
  for (int at = 0; at < bytes; ++at) buffer[at] = byte_of(rank, message, at);
}

static void check(const unsigned char* buffer, int bytes, int sender, int message,
                  const char* how) {
  for (int at = 0; at < bytes; ++at) {
    if (buffer[at] == byte_of(sender, message, at)) continue;
    fprintf(stderr, "rank %d: %s %d of %d bytes from rank %d: byte %d is wrong\n", rank, how,
            message, bytes, sender, at);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
}

static void ring(unsigned char* out, unsigned char* in) {
  const int to = (rank + 1) % ranks, from = (rank + ranks - 1) % ranks;
  for (int round = 0; round < rounds; ++round)
    for (int i = 0; i < size_count; ++i) {
      const int message = round * size_count + i;
      MPI_Status status;
      int count;
      fill(out, sizes[i], message);
      MPI_Sendrecv(out, sizes[i], MPI_BYTE, to, message, in, largest, MPI_BYTE, from, message,
                   MPI_COMM_WORLD, &status);
      MPI_Get_count(&status, MPI_BYTE, &count);
      if (count != sizes[i]) MPI_Abort(MPI_COMM_WORLD, 2);
      check(in, count, from, message, "ring message");
    }
}

/* Many at once, which the receiver takes in the opposite order: most are unexpected. */
static void flood(unsigned char* out, unsigned char* in) {
  enum { messages = 64, bytes = 3000 };
  const int to = (rank + 1) % ranks, from = (rank + ranks - 1) % ranks;
  MPI_Request requests[messages];
  for (int message = 0; message < messages; ++message) {
    fill(out + message * bytes, bytes, message);
    MPI_Isend(out + message * bytes, bytes, MPI_BYTE, to, message, MPI_COMM_WORLD,
              &requests[message]);
  }
  for (int message = messages - 1; message >= 0; --message) {
    MPI_Recv(in, bytes, MPI_BYTE, from, message, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    check(in, bytes, from, message, "flood message");
  }
  MPI_Status statuses[messages];
  MPI_Waitall(messages, requests, statuses);
}

static void collectives(unsigned char* out, unsigned char* in) {
  double *mine = (double*)out, *sum = (double*)in;
  for (int count = 1; count <= 100000; count *= 10) {
    for (int i = 0; i < count; ++i) mine[i] = (double)(rank + 1) * (i + 1);
    MPI_Allreduce(mine, sum, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < count; ++i)
      if (sum[i] != (double)ranks * (ranks + 1) / 2 * (i + 1)) {
        fprintf(stderr, "rank %d: allreduce of %d: element %d is %g\n", rank, count, i, sum[i]);
        MPI_Abort(MPI_COMM_WORLD, 3);
      }
  }
  const int bytes = 10000;
  for (int peer = 0; peer < ranks; ++peer) fill(out + peer * bytes, bytes, peer);
  MPI_Alltoall(out, bytes, MPI_BYTE, in, bytes, MPI_BYTE, MPI_COMM_WORLD);
  for (int peer = 0; peer < ranks; ++peer)
    check(in + peer * bytes, bytes, peer, rank, "alltoall part");
}

/* Each rank writes into the next one's window, reads what the one before wrote there, and counts in
 * rank 0's. */
static void one_sided(unsigned char* out, unsigned char* in) {
  enum { bytes = 20000 };
  const int to = (rank + 1) % ranks, from = (rank + ranks - 1) % ranks;
  unsigned char* window_memory;
  long *counter, one = 1, before;
  MPI_Win window, counters;
  MPI_Win_allocate(bytes, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &window_memory, &window);
  MPI_Win_allocate(sizeof(long), sizeof(long), MPI_INFO_NULL, MPI_COMM_WORLD, &counter, &counters);
  *counter = 0;
  fill(out, bytes, 5);
  MPI_Win_fence(0, window);
  MPI_Put(out, bytes, MPI_BYTE, to, 0, bytes, MPI_BYTE, window);
  MPI_Win_fence(0, window);
  check(window_memory, bytes, from, 5, "put");
  MPI_Get(in, bytes, MPI_BYTE, to, 0, bytes, MPI_BYTE, window);
  MPI_Win_fence(0, window);
  check(in, bytes, rank, 5, "get");
  MPI_Win_lock_all(0, counters);
  for (int i = 0; i < 100; ++i) {
    MPI_Fetch_and_op(&one, &before, MPI_LONG, 0, 0, MPI_SUM, counters);
    MPI_Win_flush(0, counters);
  }
  MPI_Win_unlock_all(counters);
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0 && *counter != 100L * ranks) {
    fprintf(stderr, "rank 0: the counter is %ld, not %ld\n", *counter, 100L * ranks);
    MPI_Abort(MPI_COMM_WORLD, 4);
  }
  MPI_Win_free(&counters);
  MPI_Win_free(&window);
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  unsigned char *out = malloc(largest), *in = malloc(largest);
  if (!out || !in) MPI_Abort(MPI_COMM_WORLD, 5);
  ring(out, in);
  flood(out, in);
  collectives(out, in);
  one_sided(out, in);
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0) printf("%d ranks agree\n", ranks);
  free(in);
  free(out);
  MPI_Finalize();
  return 0;
}
