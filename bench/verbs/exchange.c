/* One end of a connection between two programs, in C: latency of messages, bandwidth of writes. The
 * counterpart of exchange.ts, request by request the same.
 * Usage: exchange first|second latency|bandwidth SIZE ITERATIONS SAMPLES [DEVICE]
 *
 * Each says who it is, as one line, and reads the other's; says `ready`, and waits for a line. Then
 * the first measures: microseconds one way, or megabytes a second, a line for each sample. The
 * second ends with its input. */
#include "connection.h"

/* Requests in flight when bandwidth is measured. */
enum { WINDOW = 16, POLLED = 32 };

static struct ibv_mr* mr;
static uint32_t size_bytes;
static uint64_t remote_address;
static uint32_t remote_rkey;
static int sent, received;

static void meet(void) {
  const struct end own = own_end();
  printf("%u %u ", own.qpn, own.lid);
  for (int i = 0; i < 16; i++) printf("%02x", own.gid.raw[i]);
  printf(" %llu %u\n", (unsigned long long)(uintptr_t)mr->addr, mr->rkey);
  fflush(stdout);
  struct end remote;
  char gid[33];
  unsigned long long address;
  if (scanf("%u %hu %32s %llu %u", &remote.qpn, &remote.lid, gid, &address, &remote_rkey) != 5) {
    fail("the other's line");
  }
  for (int i = 0; i < 16; i++) sscanf(gid + 2 * i, "%2hhx", &remote.gid.raw[i]);
  remote_address = address;
  connect_to(&remote);
}

static void post_receive(void) {
  struct ibv_sge entry = {(uintptr_t)mr->addr + size_bytes, size_bytes, mr->lkey};
  struct ibv_recv_wr request = {.wr_id = 1, .sg_list = &entry, .num_sge = 1}, *bad;
  if (ibv_post_recv(qp, &request, &bad) != 0) fail("ibv_post_recv");
}

static void post(enum ibv_wr_opcode opcode) {
  struct ibv_sge entry = {(uintptr_t)mr->addr, size_bytes, mr->lkey};
  struct ibv_send_wr request = {.sg_list = &entry,
                                .num_sge = 1,
                                .opcode = opcode,
                                .send_flags = IBV_SEND_SIGNALED},
                     *bad;
  request.wr.rdma.remote_addr = remote_address + size_bytes;
  request.wr.rdma.rkey = remote_rkey;
  if (ibv_post_send(qp, &request, &bad) != 0) fail("ibv_post_send");
}

/* Counts what has completed. Returns how many receives. */
static int take(void) {
  struct ibv_wc wcs[POLLED];
  const int before = received;
  const int count = ibv_poll_cq(cq, POLLED, wcs);
  for (int i = 0; i < count; i++) {
    if (wcs[i].status != IBV_WC_SUCCESS) {
      fprintf(stderr, "a completion says: %s\n", ibv_wc_status_str(wcs[i].status));
      exit(1);
    }
    if (wcs[i].wr_id == 1) {
      received++;
    } else {
      sent++;
    }
  }
  return received - before;
}

/* Answers each message, the last of the first one's excepted. */
static void ping_pong(int is_first, int iterations) {
  const int until = received + iterations;
  if (is_first) post(IBV_WR_SEND);
  while (received < until) {
    for (int fresh = take(); fresh > 0; fresh--) {
      post_receive();
      if (!is_first || received < until) post(IBV_WR_SEND);
    }
  }
}

static void write_all(int iterations) {
  const int until = sent + iterations;
  for (int posted = sent; sent < until; take()) {
    for (; posted < until && posted < sent + WINDOW; posted++) post(IBV_WR_RDMA_WRITE);
  }
}

static double sample(int is_latency, int iterations) {
  const double started = now_ns();
  if (is_latency) {
    ping_pong(1, iterations);
    return (now_ns() - started) / 2e3 / iterations;
  }
  write_all(iterations);
  return (double)size_bytes * iterations * 1e3 / (now_ns() - started);
}

int main(int argc, char** argv) {
  if (argc < 6) {
    fprintf(stderr,
            "usage: exchange first|second latency|bandwidth SIZE ITERATIONS SAMPLES [DEVICE]\n");
    return 2;
  }
  const int is_first = strcmp(argv[1], "first") == 0;
  const int is_latency = strcmp(argv[2], "latency") == 0;
  size_bytes = (uint32_t)atoi(argv[3]);
  const int iterations = atoi(argv[4]), samples = atoi(argv[5]);
  open_device(argc > 6 ? argv[6] : NULL);
  char* memory = calloc(2, size_bytes);
  if (memory == NULL) fail("calloc");
  mr = register_memory(memory, 2 * (size_t)size_bytes);
  meet();
  for (int i = 0; i < 4; i++) post_receive();
  puts("ready");
  fflush(stdout);
  char line[8];
  if (scanf("%7s", line) != 1) fail("the word to go");
  /* The first sample warms up. */
  if (is_first) {
    for (int i = 0; i <= samples; i++) {
      const double figure = sample(is_latency, iterations);
      if (i > 0) printf("%.3f\n", figure);
    }
    return 0;
  }
  if (is_latency) ping_pong(0, iterations * (samples + 1));
  while (getchar() != EOF) take();
  return 0;
}
