// The straight way of small messages: what it carries arrives as by any way, and whatever it can't
// carry ends as it always did.
#include "softhca/straight.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <atomic>
#include <thread>
#include <utility>

#include "child.h"
#include "fabric.h"
#include "softhca/host.h"
#include "softhca/qp.h"

#undef ibv_reg_mr

using namespace softhca;

namespace {

// Until this thread is favoured at the peer's queue pair: only then is the way straight.
void warm_up(Endpoint& from, Endpoint& to) {
  for (int i = 0; i < 200; ++i) {
    ibv_send_wr wr = from.make(99, IBV_WR_RDMA_WRITE, 0, 8);
    wr.wr.rdma = {to.name().address, to.mr->rkey};
    ASSERT_EQ(from.post(wr), 0);
    ASSERT_EQ(from.wait().status, IBV_WC_SUCCESS);
  }
  if (heavy_barrier_works())
    ASSERT_NE(QueuePair::of(to.qp)->shared->inbound.favour.who.load(), favour_nobody);
}

struct WarmPair : Pair {
  explicit WarmPair(EndpointOptions left = {}, EndpointOptions right = {}) : Pair(left, right) {
    warm_up(a, b);
  }
};

ibv_send_wr rdma(WarmPair& pair, ibv_wr_opcode opcode, size_t offset, uint32_t length,
                 size_t remote_offset) {
  ibv_send_wr wr = pair.a.make(7, opcode, offset, length);
  wr.wr.rdma = {pair.b.name().address + remote_offset, pair.b.mr->rkey};
  return wr;
}

}  // namespace

TEST(Straight, every_length_arrives_whole_and_touches_nothing_else) {
  WarmPair pair;
  for (uint32_t length = 1; length <= straight_bytes + 9; ++length) {
    for (ibv_wr_opcode opcode : {IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ, IBV_WR_SEND}) {
      auto& from = opcode == IBV_WR_RDMA_READ ? pair.b.memory : pair.a.memory;
      auto& to = opcode == IBV_WR_RDMA_READ ? pair.a.memory : pair.b.memory;
      for (uint32_t i = 0; i < length; ++i) from[1000 + i] = uint8_t(length + i * 7);
      std::fill(to.begin() + 2000, to.begin() + 2400, 0xee);
      ibv_send_wr wr = opcode == IBV_WR_RDMA_READ ? rdma(pair, opcode, 2100, length, 1000)
                                                  : rdma(pair, opcode, 1000, length, 2100);
      if (opcode == IBV_WR_SEND) ASSERT_EQ(pair.b.post_recv(5, 2100, length + 3), 0);
      ASSERT_EQ(pair.a.post(wr), 0);
      ASSERT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
      if (opcode == IBV_WR_SEND) {
        ibv_wc got = pair.b.wait();
        EXPECT_EQ(got.wr_id, 5u);
        EXPECT_EQ(got.byte_len, length);
        EXPECT_EQ(got.src_qp, pair.a.qp->qp_num);
      }
      ASSERT_EQ(memcmp(&from[1000], &to[2100], length), 0) << length;
      ASSERT_EQ(to[2099], 0xee);
      ASSERT_EQ(to[2100 + length], 0xee);
    }
  }
}

TEST(Straight, a_write_onto_its_own_source_moves_it) {
  WarmPair pair;
  pair.a.reset_and_connect(pair.a.name());
  warm_up(pair.a, pair.a);
  for (uint32_t i = 0; i < 64; ++i) pair.a.memory[500 + i] = uint8_t(i);
  ibv_send_wr wr = pair.a.make(1, IBV_WR_RDMA_WRITE, 500, 64);
  wr.wr.rdma = {pair.a.name().address + 503, pair.a.mr->rkey};
  ASSERT_EQ(pair.a.post(wr), 0);
  ASSERT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
  for (uint32_t i = 0; i < 64; ++i) EXPECT_EQ(pair.a.memory[503 + i], i);
}

TEST(Straight, a_key_that_allows_less_is_an_access_error) {
  WarmPair pair;
  ibv_send_wr wr = rdma(pair, IBV_WR_RDMA_WRITE, 0, 8, pair.b.memory.size() - 4);
  ASSERT_EQ(pair.a.post(wr), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_REM_ACCESS_ERR);
}

TEST(Straight, a_local_key_that_allows_less_is_a_protection_error) {
  WarmPair pair;
  ibv_send_wr wr = rdma(pair, IBV_WR_RDMA_WRITE, pair.a.memory.size() - 4, 8, 0);
  ASSERT_EQ(pair.a.post(wr), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_LOC_PROT_ERR);
}

TEST(Straight, memory_that_went_away_fails_who_registered_it) {
  for (bool remote : {false, true})
    for (auto [opcode, bytes] : {std::pair{IBV_WR_RDMA_WRITE, 24u},
                                 {IBV_WR_RDMA_READ, 24u},
                                 {IBV_WR_RDMA_WRITE, 8u},
                                 {IBV_WR_RDMA_READ, 8u}}) {
      WarmPair pair;
      Endpoint& owner = remote ? pair.b : pair.a;
      void* memory =
          mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      ibv_mr* mr = ibv_reg_mr(owner.pd, memory, 4096, all_access);
      ASSERT_NE(mr, nullptr);
      ASSERT_EQ(mprotect(memory, 4096, PROT_NONE), 0);
      ibv_send_wr wr = rdma(pair, opcode, 0, bytes, 0);
      ibv_sge sge{reinterpret_cast<uint64_t>(memory), bytes, mr->lkey};
      if (remote) {
        wr.wr.rdma = {reinterpret_cast<uint64_t>(memory), mr->rkey};
      } else {
        wr.sg_list = &sge;
      }
      ASSERT_EQ(pair.a.post(wr), 0);
      EXPECT_EQ(pair.a.wait().status, remote ? IBV_WC_REM_OP_ERR : IBV_WC_LOC_PROT_ERR);
      EXPECT_EQ(ibv_dereg_mr(mr), 0);
      munmap(memory, 4096);
    }
}

TEST(Straight, a_receive_that_is_too_short_fails_both) {
  WarmPair pair;
  ASSERT_EQ(pair.b.post_recv(5, 0, 7), 0);
  ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8)), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_REM_INV_REQ_ERR);
  EXPECT_EQ(pair.b.wait().status, IBV_WC_LOC_LEN_ERR);
}

TEST(Straight, what_may_not_be_posted_is_refused) {
  WarmPair pair;
  ibv_qp_attr attr;
  ibv_qp_init_attr init;
  ASSERT_EQ(ibv_query_qp(pair.a.qp, &attr, IBV_QP_CAP, &init), 0);
  ASSERT_LT(init.cap.max_inline_data, straight_bytes) << "or nothing is too long here";
  ibv_send_wr wr = rdma(pair, IBV_WR_RDMA_WRITE, 0, init.cap.max_inline_data + 1, 0);
  wr.send_flags |= IBV_SEND_INLINE;
  EXPECT_EQ(pair.a.post(wr), EINVAL) << "more than max_inline_data";
  wr = rdma(pair, IBV_WR_RDMA_READ, 0, 8, 0);
  wr.send_flags |= IBV_SEND_INLINE;
  EXPECT_EQ(pair.a.post(wr), EINVAL) << "a read has no data to take along";
  wr = rdma(pair, IBV_WR_DRIVER1, 0, 8, 0);
  EXPECT_EQ(pair.a.post(wr), EINVAL) << "of no transport";
  uint32_t posted = 0;
  wr = rdma(pair, IBV_WR_RDMA_WRITE, 0, 8, 0);
  while (posted <= init.cap.max_send_wr && pair.a.post(wr) == 0) ++posted;
  EXPECT_EQ(posted, init.cap.max_send_wr) << "places are taken until completions are polled";
}

TEST(Straight, a_send_waits_for_its_receive) {
  WarmPair pair;
  ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8)), 0);
  EXPECT_TRUE(pair.a.idle());
  ASSERT_EQ(pair.b.post_recv(5, 0, 8), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
  EXPECT_EQ(pair.b.wait().wr_id, 5u);
}

TEST(Straight, a_completion_without_room_at_the_receiver_is_its_fatal_error) {
  WarmPair pair({}, {.cqe = 2});
  for (uint64_t i = 0; i < 4; ++i) ASSERT_EQ(pair.b.post_recv(i, 0, 8), 0);
  ibv_wc_status status = IBV_WC_SUCCESS;
  for (int i = 0; i < 4 && status == IBV_WC_SUCCESS; ++i) {
    ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8)), 0);
    status = pair.a.wait().status;
  }
  EXPECT_EQ(status, IBV_WC_REM_OP_ERR);
  ibv_qp_attr attr;
  ibv_qp_init_attr init;
  ASSERT_EQ(ibv_query_qp(pair.b.qp, &attr, IBV_QP_STATE, &init), 0);
  EXPECT_EQ(attr.qp_state, IBV_QPS_ERR);
}

TEST(Straight, receives_are_posted_again_as_soon_as_they_are_polled) {
  WarmPair pair;
  const uint32_t room = 64;
  uint64_t posted = 0;
  while (posted < room) ASSERT_EQ(pair.b.post_recv(posted++, 0, 8), 0);
  EXPECT_EQ(pair.b.post_recv(posted, 0, 8), ENOMEM);
  for (uint64_t i = 0; i < 500; ++i) {
    ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8)), 0);
    ASSERT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
    ASSERT_EQ(pair.b.wait().wr_id, i);
    ASSERT_EQ(pair.b.post_recv(posted++, 0, 8), 0);
    ASSERT_EQ(pair.b.post_recv(posted, 0, 8), ENOMEM);
  }
}

// The other side writes its count as fast as it can, until that fails.
struct Writer : Child {
  Writer()
      : Child([](int in, int out) {
          Endpoint mine;
          put(out, mine.name());
          Name peer = get<Name>(in);
          ASSERT_EQ(mine.connect(peer), 0);
          for (uint64_t count = 1;; ++count) {
            memcpy(mine.memory.data(), &count, 8);
            ibv_send_wr wr = mine.make(1, IBV_WR_RDMA_WRITE, 0, 8);
            wr.wr.rdma = {peer.address, peer.rkey};
            ASSERT_EQ(mine.post(wr), 0);
            if (mine.wait().status != IBV_WC_SUCCESS) break;
          }
          put(out, 'e');
        }) {}
};

// A word that peers can map.
struct MappableWord {
  int fd = memfd_create("softhca-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  std::atomic<uint64_t>* word = nullptr;

  MappableWord() {
    EXPECT_EQ(ftruncate(fd, 4096), 0);
    EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT_NE(memory, MAP_FAILED);
    word = static_cast<std::atomic<uint64_t>*>(memory);
  }
  ~MappableWord() {
    munmap(word, 4096);
    close(fd);
  }
};

enum class End { deregister, reset, error };

void end_while_written(End end) {
  for (int round = 0; round < 6; ++round) {
    Writer writer;
    Name theirs = get<Name>(writer.from);
    Endpoint mine;
    MappableWord mapped;
    std::atomic<uint64_t>& word = *mapped.word;
    ibv_mr* mr = ibv_reg_mr(mine.pd, &word, 8, all_access);
    ASSERT_EQ(mine.connect(theirs), 0);
    put(writer.to, Name{mine.qp->qp_num, mr->rkey, reinterpret_cast<uint64_t>(&word)});
    while (word.load() < 1000) std::this_thread::yield();
    if (heavy_barrier_works())
      EXPECT_NE(QueuePair::of(mine.qp)->shared->inbound.favour.who.load(), favour_nobody);
    ibv_qp_attr attr{};
    attr.qp_state = end == End::reset ? IBV_QPS_RESET : IBV_QPS_ERR;
    if (end == End::deregister) {
      ASSERT_EQ(ibv_dereg_mr(mr), 0);
    } else {
      ASSERT_EQ(ibv_modify_qp(mine.qp, &attr, IBV_QP_STATE), 0);
    }
    const uint64_t last = word.load();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(word.load(), last) << "written after its end";
    EXPECT_EQ(get<char>(writer.from), 'e') << "the writer learns of it";
    EXPECT_EQ(writer.finish(), 0);
    if (end != End::deregister) EXPECT_EQ(ibv_dereg_mr(mr), 0);
  }
}

TEST(Straight, nothing_is_written_after_deregistration) { end_while_written(End::deregister); }
TEST(Straight, nothing_is_written_through_a_queue_pair_that_was_reset) {
  end_while_written(End::reset);
}
TEST(Straight, nothing_is_written_through_a_queue_pair_in_error) { end_while_written(End::error); }
