// Memory windows: what they open, to whom, and until when.
#include <cerrno>

#include "fabric.h"

namespace {

ibv_wc_status write_by(Pair& pair, uint32_t rkey, uint64_t address, uint32_t length) {
  ibv_send_wr wr = pair.a.make(7, IBV_WR_RDMA_WRITE, 0, length);
  wr.wr.rdma = {address, rkey};
  EXPECT_EQ(pair.a.post(wr), 0);
  return pair.a.wait().status;
}

}  // namespace

TEST(Windows, type_1_opens_its_range_and_each_bind_ends_the_key_before) {
  Pair pair;
  ibv_mw* mw = ibv_alloc_mw(pair.b.pd, IBV_MW_TYPE_1);
  ASSERT_NE(mw, nullptr);
  ibv_mw_bind bind{};
  bind.send_flags = IBV_SEND_SIGNALED;
  bind.bind_info = {pair.b.mr, pair.b.name().address + 100, 50, IBV_ACCESS_REMOTE_WRITE};
  ASSERT_EQ(ibv_bind_mw(pair.b.qp, mw, &bind), 0);
  EXPECT_EQ(pair.b.wait().opcode, IBV_WC_BIND_MW);
  uint32_t first = mw->rkey;
  EXPECT_EQ(write_by(pair, first, pair.b.name().address + 100, 50), IBV_WC_SUCCESS);
  EXPECT_EQ(ibv_dereg_mr(pair.b.mr), EBUSY);
  ASSERT_EQ(ibv_bind_mw(pair.b.qp, mw, &bind), 0);
  EXPECT_EQ(pair.b.wait().status, IBV_WC_SUCCESS);
  EXPECT_NE(mw->rkey, first);
  EXPECT_EQ(write_by(pair, first, pair.b.name().address + 100, 50), IBV_WC_REM_ACCESS_ERR);
  EXPECT_EQ(ibv_dealloc_mw(mw), 0);
}

TEST(Windows, type_2_ends_by_send_with_invalidate_and_cannot_be_exceeded) {
  Pair pair;
  ibv_mw* mw = ibv_alloc_mw(pair.b.pd, IBV_MW_TYPE_2);
  ASSERT_NE(mw, nullptr);
  uint32_t rkey = ibv_inc_rkey(mw->rkey);
  ibv_send_wr wr = pair.b.make(1, IBV_WR_BIND_MW, 0, 0);
  wr.num_sge = 0;
  wr.bind_mw.mw = mw;
  wr.bind_mw.rkey = rkey;
  wr.bind_mw.bind_info = {pair.b.mr, pair.b.name().address, 64, IBV_ACCESS_REMOTE_WRITE};
  ASSERT_EQ(pair.b.post(wr), 0);
  ASSERT_EQ(pair.b.wait().status, IBV_WC_SUCCESS);
  EXPECT_EQ(write_by(pair, rkey, pair.b.name().address, 64), IBV_WC_SUCCESS);
  ASSERT_EQ(pair.b.post_recv(1, 0, 8), 0);
  ibv_send_wr send = pair.a.make(2, IBV_WR_SEND_WITH_INV, 0, 8);
  send.invalidate_rkey = rkey;
  ASSERT_EQ(pair.a.post(send), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
  ibv_wc wc = pair.b.wait();
  EXPECT_TRUE(wc.wc_flags & IBV_WC_WITH_INV);
  EXPECT_EQ(wc.invalidated_rkey, rkey);
  EXPECT_EQ(write_by(pair, rkey, pair.b.name().address, 8), IBV_WC_REM_ACCESS_ERR);
  EXPECT_EQ(ibv_dealloc_mw(mw), 0);
}
