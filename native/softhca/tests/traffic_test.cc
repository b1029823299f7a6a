// Each transport and each operation that it has: bytes, immediate data, completions.
#include "fabric.h"

namespace {

void fill(Endpoint& endpoint, size_t offset, size_t length, uint8_t seed) {
  for (size_t i = 0; i < length; ++i) endpoint.memory[offset + i] = uint8_t(seed + i * 31);
}

ibv_send_wr rdma(Endpoint& from, Endpoint& to, ibv_wr_opcode opcode, size_t offset, uint32_t length,
                 size_t remote_offset) {
  ibv_send_wr wr = from.make(7, opcode, offset, length);
  wr.wr.rdma.remote_addr = to.name().address + remote_offset;
  wr.wr.rdma.rkey = to.mr->rkey;
  return wr;
}

class Transport : public testing::TestWithParam<ibv_qp_type> {};

}  // namespace

TEST_P(Transport, a_send_lands_in_the_oldest_receive_with_its_immediate_data) {
  Pair pair({.type = GetParam()});
  uint32_t extra = GetParam() == IBV_QPT_UD ? 40 : 0;
  for (uint32_t length : {0u, 1u, 7u, 8u, 64u, 1000u, 4096u}) {
    fill(pair.a, 0, length, uint8_t(length));
    ASSERT_EQ(pair.b.post_recv(11, 8192, length + extra), 0);
    ibv_send_wr wr = pair.a.make(3, IBV_WR_SEND_WITH_IMM, 0, length);
    wr.imm_data = 0xabcd0123;
    ASSERT_EQ(pair.a.post(wr), 0);
    ibv_wc sent = pair.a.wait(), got = pair.b.wait();
    EXPECT_EQ(sent.status, IBV_WC_SUCCESS);
    EXPECT_EQ(sent.wr_id, 3u);
    EXPECT_EQ(sent.opcode, IBV_WC_SEND);
    EXPECT_EQ(got.status, IBV_WC_SUCCESS);
    EXPECT_EQ(got.wr_id, 11u);
    EXPECT_EQ(got.opcode, IBV_WC_RECV);
    EXPECT_EQ(got.byte_len, length + extra);
    EXPECT_EQ(got.qp_num, pair.b.qp->qp_num);
    EXPECT_TRUE(got.wc_flags & IBV_WC_WITH_IMM);
    EXPECT_EQ(got.imm_data, 0xabcd0123u);
    if (extra) EXPECT_EQ(got.src_qp, pair.a.qp->qp_num);
    EXPECT_EQ(memcmp(&pair.a.memory[0], &pair.b.memory[8192 + extra], length), 0);
  }
}

TEST_P(Transport, scattered_and_gathered_pieces_arrive_in_order) {
  Pair pair({.type = GetParam()});
  uint32_t extra = GetParam() == IBV_QPT_UD ? 40 : 0;
  fill(pair.a, 0, 300, 5);
  ibv_sge into[3] = {pair.b.sge(1000, 13 + extra), pair.b.sge(2000, 0), pair.b.sge(3000, 500)};
  ibv_recv_wr recv{1, nullptr, into, 3}, *bad_recv;
  ASSERT_EQ(ibv_post_recv(pair.b.qp, &recv, &bad_recv), 0);
  ibv_sge from[3] = {pair.a.sge(0, 100), pair.a.sge(100, 1), pair.a.sge(101, 199)};
  ibv_send_wr wr = pair.a.make(1, IBV_WR_SEND, 0, 0);
  wr.sg_list = from;
  wr.num_sge = 3;
  ASSERT_EQ(pair.a.post(wr), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
  EXPECT_EQ(pair.b.wait().byte_len, 300 + extra);
  EXPECT_EQ(memcmp(&pair.a.memory[0], &pair.b.memory[1000 + extra], 13), 0);
  EXPECT_EQ(memcmp(&pair.a.memory[13], &pair.b.memory[3000], 287), 0);
}

TEST_P(Transport, inline_data_needs_no_key_and_is_taken_at_once) {
  Pair pair({.type = GetParam()});
  uint32_t extra = GetParam() == IBV_QPT_UD ? 40 : 0;
  ASSERT_EQ(pair.b.post_recv(1, 0, 200), 0);
  char text[32] = "taken when posted";
  ibv_sge sge{reinterpret_cast<uint64_t>(text), sizeof text, 0};
  ibv_send_wr wr = pair.a.make(1, IBV_WR_SEND, 0, 0);
  wr.sg_list = &sge;
  wr.send_flags |= IBV_SEND_INLINE;
  ASSERT_EQ(pair.a.post(wr), 0);
  memset(text, 0, sizeof text);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
  EXPECT_EQ(pair.b.wait().byte_len, 32 + extra);
  EXPECT_STREQ(reinterpret_cast<char*>(&pair.b.memory[extra]), "taken when posted");
}

INSTANTIATE_TEST_SUITE_P(All, Transport, testing::Values(IBV_QPT_RC, IBV_QPT_UC, IBV_QPT_UD),
                         [](auto& info) {
                           return info.param == IBV_QPT_RC   ? "rc"
                                  : info.param == IBV_QPT_UC ? "uc"
                                                             : "ud";
                         });

TEST(Traffic, unsignalled_sends_complete_silently) {
  Pair pair;
  ASSERT_EQ(pair.b.post_recv(1, 0, 8), 0);
  ibv_send_wr wr = pair.a.make(1, IBV_WR_SEND, 0, 8);
  wr.send_flags = 0;
  ASSERT_EQ(pair.a.post(wr), 0);
  EXPECT_EQ(pair.b.wait().status, IBV_WC_SUCCESS);
  EXPECT_TRUE(pair.a.idle());
}

TEST(Traffic, writes_and_reads_move_any_length) {
  Pair pair;
  for (uint32_t length : {0u, 1u, 8u, 9u, 4095u, 20000u}) {
    fill(pair.a, 0, length, uint8_t(length + 1));
    ASSERT_EQ(pair.a.post(rdma(pair.a, pair.b, IBV_WR_RDMA_WRITE, 0, length, 77)), 0);
    ibv_wc wc = pair.a.wait();
    EXPECT_EQ(wc.status, IBV_WC_SUCCESS);
    EXPECT_EQ(wc.opcode, IBV_WC_RDMA_WRITE);
    EXPECT_EQ(memcmp(&pair.a.memory[0], &pair.b.memory[77], length), 0);
    ASSERT_EQ(pair.a.post(rdma(pair.a, pair.b, IBV_WR_RDMA_READ, 30000, length, 77)), 0);
    wc = pair.a.wait();
    EXPECT_EQ(wc.status, IBV_WC_SUCCESS);
    EXPECT_EQ(wc.opcode, IBV_WC_RDMA_READ);
    EXPECT_EQ(wc.byte_len, length);
    EXPECT_EQ(memcmp(&pair.a.memory[30000], &pair.b.memory[77], length), 0);
  }
  EXPECT_TRUE(pair.b.idle());
}

TEST(Traffic, a_write_with_immediate_data_takes_a_receive) {
  Pair pair;
  ASSERT_EQ(pair.b.post_recv(5, 0, 0), 0);
  ibv_send_wr wr = rdma(pair.a, pair.b, IBV_WR_RDMA_WRITE_WITH_IMM, 0, 100, 500);
  wr.imm_data = 42;
  fill(pair.a, 0, 100, 9);
  ASSERT_EQ(pair.a.post(wr), 0);
  EXPECT_EQ(pair.a.wait().opcode, IBV_WC_RDMA_WRITE);
  ibv_wc wc = pair.b.wait();
  EXPECT_EQ(wc.opcode, IBV_WC_RECV_RDMA_WITH_IMM);
  EXPECT_EQ(wc.byte_len, 100u);
  EXPECT_EQ(wc.imm_data, 42u);
  EXPECT_EQ(memcmp(&pair.a.memory[0], &pair.b.memory[500], 100), 0);
}

TEST(Traffic, atomics_return_what_was_there) {
  Pair pair;
  auto* target = reinterpret_cast<uint64_t*>(&pair.b.memory[64]);
  auto* result = reinterpret_cast<uint64_t*>(&pair.a.memory[0]);
  *target = 100;
  ibv_send_wr wr = pair.a.make(1, IBV_WR_ATOMIC_FETCH_AND_ADD, 0, 8);
  wr.wr.atomic = {pair.b.name().address + 64, 5, 0, pair.b.mr->rkey};
  ASSERT_EQ(pair.a.post(wr), 0);
  EXPECT_EQ(pair.a.wait().opcode, IBV_WC_FETCH_ADD);
  EXPECT_EQ(*result, 100u);
  EXPECT_EQ(*target, 105u);
  wr.opcode = IBV_WR_ATOMIC_CMP_AND_SWP;
  wr.wr.atomic.compare_add = 104;
  wr.wr.atomic.swap = 1;
  ASSERT_EQ(pair.a.post(wr), 0);
  EXPECT_EQ(pair.a.wait().opcode, IBV_WC_COMP_SWAP);
  EXPECT_EQ(*result, 105u);
  EXPECT_EQ(*target, 105u);
  wr.wr.atomic.compare_add = 105;
  ASSERT_EQ(pair.a.post(wr), 0);
  pair.a.wait();
  EXPECT_EQ(*target, 1u);
}

TEST(Traffic, a_queue_pair_can_talk_to_itself) {
  Endpoint self;
  ASSERT_EQ(self.connect(self.name()), 0);
  fill(self, 0, 50, 3);
  ASSERT_EQ(self.post_recv(1, 100, 50), 0);
  ASSERT_EQ(self.post(self.make(2, IBV_WR_SEND, 0, 50)), 0);
  self.wait();
  self.wait();
  EXPECT_EQ(memcmp(&self.memory[0], &self.memory[100], 50), 0);
}

TEST(Traffic, a_shared_receive_queue_serves_and_reports_its_limit_once) {
  Pair pair({.with_srq = true});
  for (uint64_t i = 0; i < 4; ++i) ASSERT_EQ(pair.b.post_recv(i, i * 100, 100), 0);
  ibv_srq_attr attr{};
  attr.srq_limit = 3;
  ASSERT_EQ(ibv_modify_srq(pair.b.srq, &attr, IBV_SRQ_LIMIT), 0);
  for (uint64_t i = 0; i < 3; ++i) {
    ASSERT_EQ(pair.a.post(pair.a.make(i, IBV_WR_SEND, 0, 100)), 0);
    EXPECT_EQ(pair.b.wait().wr_id, i);
    pair.a.wait();
  }
  ibv_async_event event;
  do {
    ASSERT_EQ(ibv_get_async_event(pair.b.context, &event), 0);
    ibv_ack_async_event(&event);
  } while (event.event_type != IBV_EVENT_SRQ_LIMIT_REACHED);
  EXPECT_EQ(event.element.srq, pair.b.srq);
  ASSERT_EQ(ibv_query_srq(pair.b.srq, &attr), 0);
  EXPECT_EQ(attr.srq_limit, 0u);
}
