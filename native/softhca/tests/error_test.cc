// What goes wrong, and the completion status that hardware gives for it.
#include <cerrno>
#include <random>

#include "fabric.h"

#undef ibv_reg_mr

namespace {

ibv_send_wr rdma(Pair& pair, ibv_wr_opcode opcode, uint32_t length) {
  ibv_send_wr wr = pair.a.make(7, opcode, 0, length);
  wr.wr.rdma.remote_addr = pair.b.name().address;
  wr.wr.rdma.rkey = pair.b.mr->rkey;
  return wr;
}

ibv_qp_state state_of(Endpoint& endpoint) {
  ibv_qp_attr attr;
  ibv_qp_init_attr init;
  EXPECT_EQ(ibv_query_qp(endpoint.qp, &attr, IBV_QP_STATE, &init), 0);
  return attr.qp_state;
}

void expect_refused(Pair& pair, ibv_send_wr wr, ibv_wc_status status) {
  ASSERT_EQ(pair.a.post(wr), 0);
  EXPECT_EQ(pair.a.wait().status, status);
  EXPECT_EQ(state_of(pair.a), IBV_QPS_ERR);
}

}  // namespace

TEST(Errors, a_wrong_remote_key_address_or_length_is_a_remote_access_error) {
  unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 40; ++i) {
    Pair pair;
    auto opcode = i % 2 ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
    ibv_send_wr wr = rdma(pair, opcode, 64);
    uint64_t size = pair.b.memory.size();
    if (i % 4 == 0) wr.wr.rdma.rkey ^= 1 + uint32_t(random()) % 0xffff;
    if (i % 4 == 1) wr.wr.rdma.remote_addr += size - 63;
    if (i % 4 == 2) wr.wr.rdma.remote_addr -= 1;
    if (i % 4 == 3) wr.wr.rdma.remote_addr = UINT64_MAX - random() % 64;
    expect_refused(pair, wr, IBV_WC_REM_ACCESS_ERR);
    EXPECT_EQ(state_of(pair.b), IBV_QPS_ERR);
    ibv_async_event event;
    ASSERT_EQ(ibv_get_async_event(pair.b.context, &event), 0);
    EXPECT_EQ(event.event_type, IBV_EVENT_QP_ACCESS_ERR);
    EXPECT_EQ(event.element.qp, pair.b.qp);
    ibv_ack_async_event(&event);
  }
}

TEST(Errors, a_key_is_no_key_after_deregistration) {
  Pair pair;
  std::vector<uint8_t> other(4096);
  ibv_mr* mr = ibv_reg_mr(pair.b.pd, other.data(), other.size(), all_access);
  ibv_send_wr wr = rdma(pair, IBV_WR_RDMA_WRITE, 8);
  wr.wr.rdma.remote_addr = reinterpret_cast<uint64_t>(other.data());
  wr.wr.rdma.rkey = mr->rkey;
  ASSERT_EQ(pair.a.post(wr), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
  ASSERT_EQ(ibv_dereg_mr(mr), 0);
  EXPECT_EQ(ibv_dereg_mr(mr), EINVAL);
  expect_refused(pair, wr, IBV_WC_REM_ACCESS_ERR);
}

TEST(Errors, a_key_of_another_protection_domain_is_refused) {
  Pair pair;
  ibv_pd* pd = ibv_alloc_pd(pair.b.context);
  std::vector<uint8_t> other(4096);
  ibv_mr* mr = ibv_reg_mr(pd, other.data(), other.size(), all_access);
  ibv_send_wr wr = rdma(pair, IBV_WR_RDMA_WRITE, 8);
  wr.wr.rdma.remote_addr = reinterpret_cast<uint64_t>(other.data());
  wr.wr.rdma.rkey = mr->rkey;
  expect_refused(pair, wr, IBV_WC_REM_ACCESS_ERR);
  EXPECT_EQ(ibv_dealloc_pd(pd), EBUSY);
  EXPECT_EQ(ibv_dereg_mr(mr), 0);
  EXPECT_EQ(ibv_dealloc_pd(pd), 0);
}

TEST(Errors, a_queue_pair_without_the_right_refuses_the_request) {
  for (auto opcode : {IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ}) {
    Pair pair({}, {.qp_access = 0});
    expect_refused(pair, rdma(pair, opcode, 8), IBV_WC_REM_INV_REQ_ERR);
  }
}

TEST(Errors, a_region_without_the_right_refuses_access) {
  Pair pair({}, {.access = IBV_ACCESS_LOCAL_WRITE});
  expect_refused(pair, rdma(pair, IBV_WR_RDMA_WRITE, 8), IBV_WC_REM_ACCESS_ERR);
}

TEST(Errors, an_unaligned_atomic_is_an_invalid_request) {
  Pair pair;
  ibv_send_wr wr = pair.a.make(1, IBV_WR_ATOMIC_FETCH_AND_ADD, 0, 8);
  wr.wr.atomic = {pair.b.name().address + 4, 1, 0, pair.b.mr->rkey};
  expect_refused(pair, wr, IBV_WC_REM_INV_REQ_ERR);
}

TEST(Errors, a_wrong_local_key_is_a_local_protection_error) {
  Pair pair;
  ibv_send_wr wr = rdma(pair, IBV_WR_RDMA_WRITE, 8);
  wr.sg_list->lkey ^= 0x100;
  expect_refused(pair, wr, IBV_WC_LOC_PROT_ERR);
  EXPECT_EQ(state_of(pair.b), IBV_QPS_RTS);
}

TEST(Errors, a_message_longer_than_the_receive_fails_on_both_sides) {
  Pair pair;
  ASSERT_EQ(pair.b.post_recv(9, 0, 10), 0);
  expect_refused(pair, pair.a.make(1, IBV_WR_SEND, 0, 11), IBV_WC_REM_INV_REQ_ERR);
  ibv_wc wc = pair.b.wait();
  EXPECT_EQ(wc.status, IBV_WC_LOC_LEN_ERR);
  EXPECT_EQ(wc.wr_id, 9u);
}

TEST(Errors, a_receive_with_a_wrong_key_fails_on_both_sides) {
  Pair pair;
  ibv_sge sge = pair.b.sge(0, 100);
  sge.lkey += 0x100;
  ASSERT_EQ(pair.b.post_recv_sge(9, sge), 0);
  expect_refused(pair, pair.a.make(1, IBV_WR_SEND, 0, 11), IBV_WC_REM_OP_ERR);
  EXPECT_EQ(pair.b.wait().status, IBV_WC_LOC_PROT_ERR);
}

TEST(Errors, the_error_state_flushes_in_order_and_what_is_posted_later_too) {
  Pair pair;
  for (uint64_t i = 0; i < 5; ++i) ASSERT_EQ(pair.a.post_recv(i, 0, 8), 0);
  ASSERT_EQ(pair.a.modify_to_error(), 0);
  for (uint64_t i = 0; i < 5; ++i) {
    ibv_wc wc = pair.a.wait();
    EXPECT_EQ(wc.status, IBV_WC_WR_FLUSH_ERR);
    EXPECT_EQ(wc.wr_id, i);
  }
  ASSERT_EQ(pair.a.post_recv(6, 0, 8), 0);
  EXPECT_EQ(pair.a.wait().wr_id, 6u);
  ASSERT_EQ(pair.a.post(pair.a.make(7, IBV_WR_SEND, 0, 8)), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_WR_FLUSH_ERR);
}

TEST(Errors, a_send_waits_for_a_receive_and_rnr_retry_ends_the_wait) {
  Pair pair({.rnr_retry = 2});
  ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8)), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_RNR_RETRY_EXC_ERR);
  Pair patient;
  ASSERT_EQ(patient.a.post(patient.a.make(1, IBV_WR_SEND, 0, 8)), 0);
  ASSERT_EQ(patient.a.post(patient.a.make(2, IBV_WR_SEND, 0, 8)), 0);
  EXPECT_TRUE(patient.a.idle());
  ASSERT_EQ(patient.b.post_recv(1, 0, 8), 0);
  ASSERT_EQ(patient.b.post_recv(2, 0, 8), 0);
  EXPECT_EQ(patient.a.wait().wr_id, 1u);
  EXPECT_EQ(patient.a.wait().wr_id, 2u);
  EXPECT_EQ(patient.b.wait().wr_id, 1u);
}

TEST(Errors, nobody_there_is_retry_exceeded) {
  Endpoint a({.timeout = 8});
  Name nobody{0x3ffffe, 0, 0};
  ASSERT_EQ(a.connect(nobody), 0);
  ASSERT_EQ(a.post(a.make(1, IBV_WR_SEND, 0, 8)), 0);
  ASSERT_EQ(a.post(a.make(2, IBV_WR_SEND, 0, 8)), 0);
  EXPECT_EQ(a.wait().status, IBV_WC_RETRY_EXC_ERR);
  EXPECT_EQ(a.wait().status, IBV_WC_WR_FLUSH_ERR);
}

TEST(Errors, a_full_send_queue_a_long_list_and_a_wrong_state_are_refused_at_posting) {
  Pair pair;
  int posted = 0;
  while (pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8)) == 0) ++posted;
  EXPECT_EQ(posted, 64);
  EXPECT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8)), ENOMEM);
  ibv_send_wr wr = pair.b.make(1, IBV_WR_SEND, 0, 8);
  wr.num_sge = 5;
  EXPECT_EQ(pair.b.post(wr), EINVAL);
  wr.num_sge = -1;
  EXPECT_EQ(pair.b.post(wr), EINVAL);
  wr = pair.b.make(1, IBV_WR_SEND, 0, 65);
  wr.send_flags |= IBV_SEND_INLINE;
  EXPECT_EQ(pair.b.post(wr), EINVAL);
  Endpoint fresh;
  EXPECT_EQ(fresh.post(fresh.make(1, IBV_WR_SEND, 0, 8)), EINVAL);
  int received = 0;
  while (pair.b.post_recv(1, 0, 8) == 0) ++received;
  EXPECT_GE(received, 64);
}

TEST(Errors, unsignaled_requests_fill_the_send_queue_until_a_later_completion_is_polled) {
  Pair pair;
  ibv_send_wr wr = rdma(pair, IBV_WR_RDMA_WRITE, 8);
  auto fill = [&](bool last_is_signaled) {
    for (int i = 0; i < 64; ++i) {
      wr.send_flags = i == 63 && last_is_signaled ? IBV_SEND_SIGNALED : 0;
      ASSERT_EQ(pair.a.post(wr), 0) << i;
    }
    EXPECT_EQ(pair.a.post(wr), ENOMEM);
  };
  fill(true);
  pair.a.wait();
  fill(false);
  EXPECT_TRUE(pair.a.idle());
  EXPECT_EQ(pair.a.post(wr), ENOMEM);
  // A reset empties it.
  pair.a.reset_and_connect(pair.b.name());
  EXPECT_EQ(pair.a.post(wr), 0);
}

TEST(Errors, a_chain_that_does_not_fit_is_posted_up_to_the_request_that_is_reported) {
  Pair pair;
  std::vector<ibv_send_wr> chain(66, rdma(pair, IBV_WR_RDMA_WRITE, 8));
  for (size_t i = 0; i + 1 < chain.size(); ++i) chain[i].next = &chain[i + 1];
  ibv_send_wr* bad = nullptr;
  EXPECT_EQ(ibv_post_send(pair.a.qp, chain.data(), &bad), ENOMEM);
  EXPECT_EQ(bad, &chain[64]);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
  EXPECT_TRUE(pair.a.idle());
}

TEST(Errors, sends_are_refused_before_ready_to_send_and_receives_before_init) {
  Endpoint endpoint;
  EXPECT_EQ(endpoint.post_recv(1, 0, 8), EINVAL);
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_INIT;
  attr.port_num = 1;
  ASSERT_EQ(ibv_modify_qp(endpoint.qp, &attr,
                          IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
            0);
  EXPECT_EQ(endpoint.post_recv(1, 0, 8), 0);
  EXPECT_EQ(endpoint.post(endpoint.make(1, IBV_WR_SEND, 0, 8)), EINVAL);
  attr = {};
  attr.qp_state = IBV_QPS_RTR;
  attr.path_mtu = IBV_MTU_1024;
  attr.dest_qp_num = endpoint.qp->qp_num;
  address_this_host(endpoint.context, &attr.ah_attr);
  ASSERT_EQ(ibv_modify_qp(endpoint.qp, &attr,
                          IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                              IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER),
            0);
  EXPECT_EQ(endpoint.post(endpoint.make(1, IBV_WR_SEND, 0, 8)), EINVAL);
}

TEST(Errors, a_local_key_of_another_protection_domain_is_a_local_protection_error) {
  Pair pair;
  ibv_pd* pd = ibv_alloc_pd(pair.a.context);
  std::vector<uint8_t> other(4096);
  ibv_mr* mr = ibv_reg_mr(pd, other.data(), other.size(), all_access);
  ibv_send_wr wr = rdma(pair, IBV_WR_RDMA_WRITE, 8);
  *wr.sg_list = {reinterpret_cast<uint64_t>(other.data()), 8, mr->lkey};
  expect_refused(pair, wr, IBV_WC_LOC_PROT_ERR);
  EXPECT_EQ(ibv_dereg_mr(mr), 0);
  EXPECT_EQ(ibv_dealloc_pd(pd), 0);
}

TEST(Errors, a_full_shared_receive_queue_and_a_long_list_are_refused) {
  Endpoint endpoint({.with_srq = true});
  for (int i = 0; i < 64; ++i) ASSERT_EQ(endpoint.post_recv(1, 0, 8), 0);
  EXPECT_EQ(endpoint.post_recv(1, 0, 8), ENOMEM);
  ibv_sge list[5] = {};
  ibv_recv_wr wr{1, nullptr, list, 5}, *bad = nullptr;
  EXPECT_EQ(ibv_post_srq_recv(endpoint.srq, &wr, &bad), EINVAL);
  EXPECT_EQ(bad, &wr);
  EXPECT_EQ(ibv_destroy_srq(endpoint.srq), EBUSY);
}

TEST(Errors, a_datagram_with_a_wrong_qkey_or_too_long_is_dropped) {
  Pair pair({.type = IBV_QPT_UD});
  ASSERT_EQ(pair.b.post_recv(1, 0, 60), 0);
  ibv_send_wr wr = pair.a.make(1, IBV_WR_SEND, 0, 10);
  wr.wr.ud.remote_qkey = test_qkey + 1;
  ASSERT_EQ(pair.a.post(wr), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
  ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 21)), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
  EXPECT_TRUE(pair.b.idle());
  ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 20)), 0);
  EXPECT_EQ(pair.b.wait().byte_len, 60u);
  pair.a.wait();
  ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 4097)), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_LOC_LEN_ERR);
  EXPECT_EQ(state_of(pair.a), IBV_QPS_SQE);
}

TEST(Errors, destroyed_objects_give_errors) {
  ibv_context* context = open_softhca();
  ibv_pd* pd = ibv_alloc_pd(context);
  ibv_cq* cq = ibv_create_cq(context, 8, nullptr, nullptr, 0);
  ibv_qp_init_attr init{};
  init.send_cq = init.recv_cq = cq;
  init.qp_type = IBV_QPT_RC;
  init.cap = {1, 1, 1, 1, 0};
  ibv_qp* qp = ibv_create_qp(pd, &init);
  EXPECT_EQ(ibv_destroy_cq(cq), EBUSY);
  EXPECT_EQ(ibv_dealloc_pd(pd), EBUSY);
  ASSERT_EQ(ibv_destroy_qp(qp), 0);
  EXPECT_EQ(ibv_destroy_qp(qp), EINVAL);
  ibv_send_wr send{}, *bad_send;
  EXPECT_EQ(ibv_post_send(qp, &send, &bad_send), EINVAL);
  ibv_recv_wr recv{}, *bad_recv;
  EXPECT_EQ(ibv_post_recv(qp, &recv, &bad_recv), EINVAL);
  ASSERT_EQ(ibv_destroy_cq(cq), 0);
  ibv_wc wc;
  EXPECT_LT(ibv_poll_cq(cq, 1, &wc), 0);
  EXPECT_EQ(ibv_req_notify_cq(cq, 0), EINVAL);
  ASSERT_EQ(ibv_dealloc_pd(pd), 0);
  EXPECT_EQ(ibv_dealloc_pd(pd), EINVAL);
  EXPECT_EQ(ibv_close_device(context), 0);
}

TEST(Errors, memory_that_cannot_be_registered_is_refused) {
  Endpoint a;
  EXPECT_EQ(ibv_reg_mr(a.pd, reinterpret_cast<void*>(4096), 4096, IBV_ACCESS_LOCAL_WRITE), nullptr);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(ibv_reg_mr(a.pd, a.memory.data(), 64, IBV_ACCESS_REMOTE_WRITE), nullptr);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(ibv_reg_mr(a.pd, a.memory.data(), SIZE_MAX, 0), nullptr);
  EXPECT_EQ(errno, EINVAL);
}

TEST(Errors, a_completion_queue_overrun_is_an_event_and_no_crash) {
  Pair pair({.cqe = 4}, {});
  for (uint64_t i = 0; i < 8; ++i) {
    pair.b.post_recv(i, 0, 8);
    pair.a.post(pair.a.make(i, IBV_WR_SEND, 0, 8));
  }
  ibv_async_event event;
  ASSERT_EQ(ibv_get_async_event(pair.a.context, &event), 0);
  EXPECT_EQ(event.event_type, IBV_EVENT_CQ_ERR);
  EXPECT_EQ(event.element.cq, pair.a.cq);
  ibv_ack_async_event(&event);
}
