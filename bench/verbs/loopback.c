/* What posting and polling costs in C: a queue pair that is connected to itself writes 8 bytes.
 * Prints nanoseconds for one request, posted and polled by itself and in batches of 32, one line of
 * JSON a sample. The counterpart of loopback.ts, on the device that is named, or preloading
 * chooses. Usage: loopback [SAMPLES [ROUNDS [DEVICE]]] */
#include "connection.h"

enum { BATCH = 32 };

static struct ibv_send_wr requests[BATCH];
static struct ibv_sge entries[BATCH];
static char* memory;
static struct ibv_mr* mr;

static void set_up(const char* device) {
  open_device(device);
  const struct end self = own_end();
  connect_to(&self);
  memory = aligned_alloc(4096, 4096);
  if (!memory) fail("aligned_alloc");
  memset(memory, 1, 4096);
  mr = register_memory(memory, 4096);
}

// Filling the descriptor is part of what a program pays for each request.
static void write_request(int slot, struct ibv_send_wr* next) {
  entries[slot] = (struct ibv_sge){(uintptr_t)memory, 8, mr->lkey};
  requests[slot] = (struct ibv_send_wr){.wr_id = (uint64_t)slot,
                                        .next = next,
                                        .sg_list = &entries[slot],
                                        .num_sge = 1,
                                        .opcode = IBV_WR_RDMA_WRITE,
                                        .send_flags = IBV_SEND_SIGNALED};
  requests[slot].wr.rdma.remote_addr = (uintptr_t)memory + 2048;
  requests[slot].wr.rdma.rkey = mr->rkey;
}

static void write_post_and_poll(int wanted) {
  struct ibv_send_wr* bad;
  struct ibv_wc wcs[BATCH];
  for (int i = 0; i < wanted; i++) write_request(i, i + 1 < wanted ? &requests[i + 1] : NULL);
  if (ibv_post_send(qp, requests, &bad)) fail("ibv_post_send");
  for (int done = 0; done < wanted;) {
    int n = ibv_poll_cq(cq, BATCH, wcs);
    for (int i = 0; i < n; i++) {
      if (wcs[i].status != IBV_WC_SUCCESS) fail(ibv_wc_status_str(wcs[i].status));
    }
    done += n;
  }
}

static double single_ns(int rounds) {
  double started = now_ns();
  for (int i = 0; i < rounds; i++) write_post_and_poll(1);
  return (now_ns() - started) / rounds;
}

static double batch_ns(int rounds) {
  double started = now_ns();
  for (int i = 0; i < rounds; i++) write_post_and_poll(BATCH);
  return (now_ns() - started) / rounds / BATCH;
}

int main(int argc, char** argv) {
  const int samples = argc > 1 ? atoi(argv[1]) : 5;
  const int rounds = argc > 2 ? atoi(argv[2]) : 200000;
  set_up(argc > 3 ? argv[3] : NULL);
  single_ns(rounds / 2);
  batch_ns(rounds / 64);
  for (int i = 0; i < samples; i++) {
    printf("{\"single\":%.2f,\"batch\":%.2f}\n", single_ns(rounds), batch_ns(rounds / 20));
  }
  return 0;
}
