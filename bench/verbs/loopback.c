/* What posting and polling costs in C: a queue pair that is connected to itself writes 8 bytes.
 * Prints nanoseconds for one request, posted and polled by itself and in batches of 32, one line of
 * JSON a sample. The counterpart of loopback.ts, on the device that preloading chooses. */
#include <infiniband/verbs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 32 };

static struct ibv_qp* qp;
static struct ibv_cq* cq;
static struct ibv_send_wr requests[BATCH];
static struct ibv_sge entries[BATCH];
static char* memory;
static struct ibv_mr* mr;

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void modify(struct ibv_qp_attr* attr, int mask) {
  if (ibv_modify_qp(qp, attr, mask)) fail("ibv_modify_qp");
}

static void connect_to_self(uint16_t lid) {
  struct ibv_qp_attr attr = {.qp_state = IBV_QPS_INIT,
                             .port_num = 1,
                             .qp_access_flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE};
  modify(&attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  attr.qp_state = IBV_QPS_RTR;
  attr.path_mtu = IBV_MTU_4096;
  attr.dest_qp_num = qp->qp_num;
  attr.max_dest_rd_atomic = 1;
  attr.ah_attr.port_num = 1;
  attr.ah_attr.dlid = lid;
  modify(&attr, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                    IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  attr.qp_state = IBV_QPS_RTS;
  attr.timeout = 14;
  modify(&attr, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                    IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

static void set_up(void) {
  int count = 0;
  struct ibv_device** list = ibv_get_device_list(&count);
  if (!list || !count) fail("ibv_get_device_list");
  struct ibv_context* context = ibv_open_device(list[0]);
  if (!context) fail("ibv_open_device");
  struct ibv_pd* pd = ibv_alloc_pd(context);
  cq = ibv_create_cq(context, 256, NULL, NULL, 0);
  if (!pd || !cq) fail("ibv_create_cq");
  struct ibv_qp_init_attr init = {
      .send_cq = cq, .recv_cq = cq, .cap = {128, 1, 1, 1, 0}, .qp_type = IBV_QPT_RC};
  qp = ibv_create_qp(pd, &init);
  if (!qp) fail("ibv_create_qp");
  struct ibv_port_attr port;
  if (ibv_query_port(context, 1, &port)) fail("ibv_query_port");
  connect_to_self(port.lid);
  memory = aligned_alloc(4096, 4096);
  if (!memory) fail("aligned_alloc");
  memset(memory, 1, 4096);
  mr = ibv_reg_mr(pd, memory, 4096, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  if (!mr) fail("ibv_reg_mr");
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
  int samples = argc > 1 ? atoi(argv[1]) : 5;
  set_up();
  single_ns(100000);
  batch_ns(3000);
  for (int i = 0; i < samples; i++) {
    printf("{\"single\":%.2f,\"batch\":%.2f}\n", single_ns(200000), batch_ns(10000));
  }
  return 0;
}
