/* What the C programs of this benchmark share: a device, a queue pair on it, and its connection to
 * another. */
#ifndef VIADUCT_BENCH_CONNECTION_H
#define VIADUCT_BENCH_CONNECTION_H

#include <infiniband/verbs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One end, as the other must know it. */
struct end {
  uint32_t qpn;
  uint16_t lid;
  union ibv_gid gid;
};

static struct ibv_context* context;
static struct ibv_port_attr port;
static int gid_index;
static struct ibv_pd* pd;
static struct ibv_cq* cq;
static struct ibv_qp* qp;

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The address of IPv4 by RoCE v2 if there is one, as viaduct/verbs prefers it; else the first. */
static int find_gid(void) {
  struct ibv_gid_entry entry;
  for (int i = 0; i < port.gid_tbl_len; i++) {
    if (ibv_query_gid_ex(context, 1, (uint32_t)i, &entry, 0) != 0) continue;
    static const uint8_t ipv4[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
    if (entry.gid_type == IBV_GID_TYPE_ROCE_V2 && memcmp(entry.gid.raw, ipv4, sizeof ipv4) == 0) {
      return i;
    }
  }
  return 0;
}

/* The device of that name; NULL: the first. */
static void open_device(const char* name) {
  int count = 0;
  struct ibv_device** list = ibv_get_device_list(&count);
  for (int i = 0; i < count && context == NULL; i++) {
    if (name == NULL || strcmp(ibv_get_device_name(list[i]), name) == 0) {
      context = ibv_open_device(list[i]);
    }
  }
  if (context == NULL) fail("ibv_open_device");
  if (ibv_query_port(context, 1, &port) != 0) fail("ibv_query_port");
  if (port.link_layer == IBV_LINK_LAYER_ETHERNET) gid_index = find_gid();
  pd = ibv_alloc_pd(context);
  cq = ibv_create_cq(context, 256, NULL, NULL, 0);
  if (pd == NULL || cq == NULL) fail("ibv_create_cq");
  struct ibv_qp_init_attr init = {
      .send_cq = cq, .recv_cq = cq, .cap = {128, 16, 1, 1, 0}, .qp_type = IBV_QPT_RC};
  qp = ibv_create_qp(pd, &init);
  if (qp == NULL) fail("ibv_create_qp");
}

static struct end own_end(void) {
  struct end end = {.qpn = qp->qp_num, .lid = port.lid};
  if (ibv_query_gid(context, 1, gid_index, &end.gid) != 0) fail("ibv_query_gid");
  return end;
}

static void modify(struct ibv_qp_attr* attr, int mask) {
  if (ibv_modify_qp(qp, attr, mask) != 0) fail("ibv_modify_qp");
}

static void connect_to(const struct end* remote) {
  struct ibv_qp_attr attr = {.qp_state = IBV_QPS_INIT,
                             .port_num = 1,
                             .qp_access_flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE};
  modify(&attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  attr.qp_state = IBV_QPS_RTR;
  attr.path_mtu = port.active_mtu;
  attr.dest_qp_num = remote->qpn;
  attr.max_dest_rd_atomic = 1;
  attr.min_rnr_timer = 12;
  attr.ah_attr.port_num = 1;
  attr.ah_attr.dlid = remote->lid;
  if (port.link_layer == IBV_LINK_LAYER_ETHERNET) {
    attr.ah_attr.is_global = 1;
    attr.ah_attr.grh.dgid = remote->gid;
    attr.ah_attr.grh.sgid_index = (uint8_t)gid_index;
    attr.ah_attr.grh.hop_limit = 64;
  }
  modify(&attr, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                    IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  attr.qp_state = IBV_QPS_RTS;
  attr.timeout = 14;
  attr.retry_cnt = 7;
  attr.rnr_retry = 7;
  modify(&attr, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                    IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

static struct ibv_mr* register_memory(char* memory, size_t size_bytes) {
  struct ibv_mr* region =
      ibv_reg_mr(pd, memory, size_bytes, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  if (region == NULL) fail("ibv_reg_mr");
  return region;
}

#endif
