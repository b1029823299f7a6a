// Two connected endpoints in one process, and what tests do with them.
#include "fabric.h"

#include <chrono>
#include <thread>

#undef ibv_reg_mr

ibv_context* open_softhca() {
  int count = 0;
  ibv_device** list = ibv_get_device_list(&count);
  EXPECT_EQ(count, 1);
  ibv_context* context = ibv_open_device(list[0]);
  EXPECT_NE(context, nullptr);
  ibv_free_device_list(list);
  return context;
}

void address_this_host(ibv_context* context, ibv_ah_attr* address) {
  address->port_num = 1;
  ibv_port_attr port{};
  EXPECT_EQ(ibv_query_port(context, 1, &port), 0);
  address->dlid = port.lid;
  if (port.link_layer != IBV_LINK_LAYER_ETHERNET) return;
  ibv_gid_entry entry{};
  for (uint8_t i = 0; i < port.gid_tbl_len && entry.ndev_ifindex == 0; ++i)
    if (ibv_query_gid_ex(context, 1, i, &entry, 0) == 0) address->grh.sgid_index = i;
  EXPECT_NE(entry.ndev_ifindex, 0U) << "no network interface is up, not even lo";
  address->is_global = 1;
  address->grh.dgid = entry.gid;
  address->grh.hop_limit = 64;
}

static ibv_gid loopback_gid(uint8_t number) {
  ibv_gid gid{};
  gid.raw[10] = gid.raw[11] = 0xff;
  gid.raw[12] = 127;
  gid.raw[15] = number;
  return gid;
}

static void address_loopback(ibv_context* context, const EndpointOptions& options,
                             ibv_ah_attr* address) {
  const ibv_gid from = loopback_gid(options.from);
  for (uint8_t i = 0; i < 64; ++i) {
    ibv_gid gid{};
    if (ibv_query_gid(context, 1, i, &gid) != 0 || memcmp(&gid, &from, sizeof gid) != 0) continue;
    address->grh.sgid_index = i;
    address->grh.dgid = loopback_gid(options.to);
    return;
  }
  ADD_FAILURE() << "no address 127.0.0." << unsigned(options.from);
}

Endpoint::Endpoint(EndpointOptions chosen) : options(chosen), memory(1 << 16) {
  context = open_softhca();
  pd = ibv_alloc_pd(context);
  channel = ibv_create_comp_channel(context);
  cq = ibv_create_cq(context, options.cqe, this, channel, 0);
  mr = ibv_reg_mr(pd, memory.data(), memory.size(), options.access);
  EXPECT_NE(mr, nullptr) << strerror(errno);
  if (options.with_srq) {
    ibv_srq_init_attr init{};
    init.attr = {64, 4, 0};
    srq = ibv_create_srq(pd, &init);
  }
  ibv_qp_init_attr init{};
  init.send_cq = init.recv_cq = cq;
  init.srq = srq;
  init.qp_type = options.type;
  init.cap = {64, 64, 4, 4, 64};
  qp = ibv_create_qp(pd, &init);
  EXPECT_NE(qp, nullptr) << strerror(errno);
}

Endpoint::~Endpoint() {
  if (ah) EXPECT_EQ(ibv_destroy_ah(ah), 0);
  EXPECT_EQ(ibv_destroy_qp(qp), 0);
  if (srq) EXPECT_EQ(ibv_destroy_srq(srq), 0);
  EXPECT_EQ(ibv_dereg_mr(mr), 0);
  EXPECT_EQ(ibv_destroy_cq(cq), 0);
  EXPECT_EQ(ibv_destroy_comp_channel(channel), 0);
  EXPECT_EQ(ibv_dealloc_pd(pd), 0);
  EXPECT_EQ(ibv_close_device(context), 0);
}

Name Endpoint::name() const {
  return {qp->qp_num, mr->rkey, reinterpret_cast<uint64_t>(memory.data())};
}

int Endpoint::connect(const Name& peer) {
  remote_qp = peer.qp_num;
  bool datagram = options.type == IBV_QPT_UD, rc = options.type == IBV_QPT_RC;
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_INIT;
  attr.port_num = 1;
  attr.qkey = test_qkey;
  attr.qp_access_flags = unsigned(options.qp_access);
  int error = ibv_modify_qp(qp, &attr,
                            IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
                                (datagram ? IBV_QP_QKEY : IBV_QP_ACCESS_FLAGS));
  if (error) return error;
  attr = {};
  attr.qp_state = IBV_QPS_RTR;
  attr.path_mtu = IBV_MTU_1024;
  attr.dest_qp_num = peer.qp_num;
  attr.max_dest_rd_atomic = 4;
  attr.min_rnr_timer = options.min_rnr_timer;
  address_this_host(context, &attr.ah_attr);
  if (options.from != 0) address_loopback(context, options, &attr.ah_attr);
  int mask = IBV_QP_STATE;
  if (!datagram) mask |= IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN;
  if (rc) mask |= IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
  error = ibv_modify_qp(qp, &attr, mask);
  if (error) return error;
  if (datagram && !ah) ah = ibv_create_ah(pd, &attr.ah_attr);
  const bool by_address = attr.ah_attr.is_global;
  attr = {};
  attr.qp_state = IBV_QPS_RTS;
  attr.timeout = options.timeout;
  // Packets have a network and a thread to pass, on a machine that may be busy.
  constexpr uint8_t slower = 6;
  if (by_address) attr.timeout = uint8_t(attr.timeout + slower);
  attr.retry_cnt = options.retry_cnt;
  attr.rnr_retry = options.rnr_retry;
  attr.max_rd_atomic = 4;
  mask = IBV_QP_STATE | IBV_QP_SQ_PSN;
  if (rc) mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC;
  return ibv_modify_qp(qp, &attr, mask);
}

int Endpoint::modify_to_error() {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_ERR;
  return ibv_modify_qp(qp, &attr, IBV_QP_STATE);
}

void Endpoint::reset_and_connect(const Name& peer) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_RESET;
  EXPECT_EQ(ibv_modify_qp(qp, &attr, IBV_QP_STATE), 0);
  EXPECT_EQ(connect(peer), 0);
}

ibv_sge Endpoint::sge(size_t offset, uint32_t length) const {
  return {reinterpret_cast<uint64_t>(memory.data()) + offset, length, mr->lkey};
}

int Endpoint::post_recv_sge(uint64_t id, ibv_sge sge) {
  ibv_recv_wr wr{id, nullptr, &sge, 1}, *bad;
  return srq ? ibv_post_srq_recv(srq, &wr, &bad) : ibv_post_recv(qp, &wr, &bad);
}
int Endpoint::post_recv(uint64_t id, size_t offset, uint32_t length) {
  return post_recv_sge(id, sge(offset, length));
}

ibv_send_wr Endpoint::make(uint64_t id, ibv_wr_opcode opcode, size_t offset, uint32_t length) {
  ibv_send_wr wr{};
  one_ = sge(offset, length);
  wr.wr_id = id;
  wr.sg_list = &one_;
  wr.num_sge = 1;
  wr.opcode = opcode;
  wr.send_flags = IBV_SEND_SIGNALED;
  if (options.type == IBV_QPT_UD) {
    wr.wr.ud.ah = ah;
    wr.wr.ud.remote_qpn = remote_qp;
    wr.wr.ud.remote_qkey = test_qkey;
  }
  return wr;
}

int Endpoint::post(ibv_send_wr wr) {
  ibv_send_wr* bad = nullptr;
  return ibv_post_send(qp, &wr, &bad);
}

ibv_wc Endpoint::wait(int timeout_ms) {
  auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  ibv_wc wc{};
  while (std::chrono::steady_clock::now() < until) {
    int n = ibv_poll_cq(cq, 1, &wc);
    if (n == 1) return wc;
    EXPECT_EQ(n, 0);
    std::this_thread::yield();
  }
  ADD_FAILURE() << "no completion within " << timeout_ms << " ms";
  return wc;
}

bool Endpoint::idle() {
  ibv_wc wc;
  return ibv_poll_cq(cq, 1, &wc) == 0;
}
