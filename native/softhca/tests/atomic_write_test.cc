// Atomic writes (IBV_WR_ATOMIC_WRITE): eight aligned bytes at once, by RC alone.
#include <cerrno>

#include "fabric.h"

namespace {

// The status that a write of so many bytes to this offset completes with.
ibv_wc_status write_at(Pair& pair, size_t offset, uint32_t bytes, uint32_t rkey) {
  ibv_send_wr wr = pair.a.make(1, IBV_WR_ATOMIC_WRITE, 0, bytes);
  wr.wr.rdma = {pair.b.name().address + offset, rkey};
  EXPECT_EQ(pair.a.post(wr), 0);
  const ibv_wc wc = pair.a.wait();
  if (wc.status == IBV_WC_SUCCESS) EXPECT_EQ(wc.opcode, IBV_WC_ATOMIC_WRITE);
  return wc.status;
}

}  // namespace

TEST(AtomicWrite, eight_bytes_arrive_and_nothing_else_changes) {
  Pair pair;
  for (size_t i = 0; i < 8; ++i) pair.a.memory[i] = uint8_t(i + 1);
  EXPECT_EQ(write_at(pair, 64, 8, pair.b.mr->rkey), IBV_WC_SUCCESS);
  EXPECT_EQ(memcmp(&pair.b.memory[64], pair.a.memory.data(), 8), 0);
  EXPECT_EQ(pair.b.memory[63], 0);
  EXPECT_EQ(pair.b.memory[72], 0);
}

TEST(AtomicWrite, another_length_or_alignment_or_no_right_to_write_is_refused) {
  for (uint32_t bytes : {4u, 16u}) {
    Pair pair;
    EXPECT_EQ(write_at(pair, 64, bytes, pair.b.mr->rkey), IBV_WC_LOC_LEN_ERR);
  }
  {
    Pair pair;
    EXPECT_EQ(write_at(pair, 65, 8, pair.b.mr->rkey), IBV_WC_REM_INV_REQ_ERR);
  }
  Pair pair({}, {.access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ});
  EXPECT_EQ(write_at(pair, 64, 8, pair.b.mr->rkey), IBV_WC_REM_ACCESS_ERR);
}

TEST(AtomicWrite, an_unreliable_queue_pair_has_none) {
  Pair pair({.type = IBV_QPT_UC}, {.type = IBV_QPT_UC});
  ibv_send_wr wr = pair.a.make(1, IBV_WR_ATOMIC_WRITE, 0, 8);
  wr.wr.rdma = {pair.b.name().address, pair.b.mr->rkey};
  EXPECT_EQ(pair.a.post(wr), EINVAL);
}
