// Registered memory that the program took away: an error for who named it, a crash for nobody.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include <cstdlib>

#include "child.h"
#include "fabric.h"

#undef ibv_reg_mr

namespace {

constexpr size_t bytes = 1 << 16;

// A mapping that is registered and then taken away from under the region.
struct Vanishing {
  ibv_mr* mr;
  void* memory;

  explicit Vanishing(Endpoint& endpoint) {
    memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mr = ibv_reg_mr(endpoint.pd, memory, bytes, all_access);
    EXPECT_NE(mr, nullptr);
  }
  ~Vanishing() {
    EXPECT_EQ(ibv_dereg_mr(mr), 0);
    munmap(memory, bytes);
  }
  void vanish() { EXPECT_EQ(mprotect(memory, bytes, PROT_NONE), 0); }
  ibv_sge sge(uint32_t length) { return {reinterpret_cast<uint64_t>(memory), length, mr->lkey}; }
};

const auto opcodes = {IBV_WR_SEND, IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ,
                      IBV_WR_ATOMIC_FETCH_AND_ADD};

ibv_send_wr make(Endpoint& from, const Name& to, ibv_wr_opcode opcode, uint32_t length) {
  ibv_send_wr wr = from.make(5, opcode, 0, opcode == IBV_WR_ATOMIC_FETCH_AND_ADD ? 8 : length);
  if (opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
    wr.wr.atomic = {to.address, 1, 0, to.rkey};
  } else {
    wr.wr.rdma = {to.address, to.rkey};
  }
  return wr;
}

void expect_local_error(Endpoint& mine, const Name& theirs, ibv_wr_opcode opcode, uint32_t length) {
  Vanishing gone(mine);
  gone.vanish();
  ibv_send_wr wr = make(mine, theirs, opcode, length);
  ibv_sge sge = gone.sge(wr.sg_list->length);
  wr.sg_list = &sge;
  ASSERT_EQ(mine.post(wr), 0);
  EXPECT_EQ(mine.wait().status, IBV_WC_LOC_PROT_ERR) << opcode << " of " << length;
}

}  // namespace

TEST(Vanished, local_memory_is_a_local_protection_error_and_the_peer_goes_on) {
  for (uint32_t length : {4u, 8u, 5000u, 60000u})
    for (ibv_wr_opcode opcode : opcodes) {
      Pair pair;
      ASSERT_EQ(pair.b.post_recv(9, 0, 60000), 0);
      expect_local_error(pair.a, pair.b.name(), opcode, length);
      EXPECT_TRUE(pair.b.idle());
      pair.a.reset_and_connect(pair.b.name());
      ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8)), 0);
      EXPECT_EQ(pair.b.wait().wr_id, 9u);
    }
}

TEST(Vanished, a_datagrams_memory_is_a_local_protection_error) {
  Pair pair({.type = IBV_QPT_UD});
  ASSERT_EQ(pair.b.post_recv(9, 0, 200), 0);
  Vanishing gone(pair.a);
  gone.vanish();
  ibv_send_wr wr = pair.a.make(1, IBV_WR_SEND, 0, 100);
  ibv_sge sge = gone.sge(100);
  wr.sg_list = &sge;
  ASSERT_EQ(pair.a.post(wr), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_LOC_PROT_ERR);
}

TEST(Vanished, a_send_cut_short_leaves_a_shared_receive_for_the_next) {
  Pair pair({}, {.with_srq = true});
  ASSERT_EQ(pair.b.post_recv(9, 0, 100), 0);
  expect_local_error(pair.a, pair.b.name(), IBV_WR_SEND, 100);
  pair.a.reset_and_connect(pair.b.name());
  ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8)), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
  EXPECT_EQ(pair.b.wait().wr_id, 9u);
}

TEST(Vanished, memory_of_the_other_side_is_a_remote_error) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP()
      << "the fault comes in ThreadSanitizer's own code, which then never lets its lock go";
#endif
  for (ibv_wr_opcode opcode : opcodes) {
    Pair pair;
    Vanishing gone(pair.b);
    Name name = pair.b.name();
    name.address = reinterpret_cast<uint64_t>(gone.memory);
    name.rkey = gone.mr->rkey;
    ASSERT_EQ(pair.b.post_recv_sge(9, gone.sge(100)), 0);
    gone.vanish();
    ASSERT_EQ(pair.a.post(make(pair.a, name, opcode, 100)), 0);
    EXPECT_EQ(pair.a.wait().status, IBV_WC_REM_OP_ERR) << opcode;
    EXPECT_EQ(pair.b.wait().status,
              opcode == IBV_WR_SEND ? IBV_WC_LOC_PROT_ERR : IBV_WC_WR_FLUSH_ERR);
  }
}

TEST(Vanished, between_processes_each_side_gets_its_own_error) {
  if (getenv("VIADUCT_REMAP"))
    GTEST_SKIP() << "remapped memory is mapped by the peer, too: it stays, as pinned pages do";
  Child child([](int in, int out) {
    for (ibv_wr_opcode opcode : opcodes) {
      Endpoint mine;
      Vanishing gone(mine);
      Name name = mine.name();
      put(out, name);
      Name theirs = get<Name>(in);
      ASSERT_EQ(mine.connect(theirs), 0);
      ASSERT_EQ(mine.post_recv_sge(9, gone.sge(5000)), 0);
      gone.vanish();
      name.address = reinterpret_cast<uint64_t>(gone.memory);
      name.rkey = gone.mr->rkey;
      put(out, name);
      EXPECT_EQ(mine.wait().status,
                opcode == IBV_WR_SEND ? IBV_WC_LOC_PROT_ERR : IBV_WC_WR_FLUSH_ERR);
      get<char>(in);
    }
  });
  for (ibv_wr_opcode opcode : opcodes) {
    Endpoint mine;
    Name own = get<Name>(child.from);
    put(child.to, mine.name());
    ASSERT_EQ(mine.connect(own), 0);
    Name gone = get<Name>(child.from);
    expect_local_error(mine, own, opcode, 5000);
    mine.reset_and_connect(own);
    ASSERT_EQ(mine.post(make(mine, gone, opcode, 5000)), 0);
    EXPECT_EQ(mine.wait().status, IBV_WC_REM_OP_ERR) << opcode;
    put(child.to, 'n');
  }
  EXPECT_EQ(child.finish(), 0);
}

namespace {
volatile sig_atomic_t seen = 0;
void* page = nullptr;
void repair(int, siginfo_t* info, void*) {
  if (info->si_addr == page) mprotect(page, 4096, PROT_READ | PROT_WRITE);
  seen = seen + 1;
}
}  // namespace

TEST(Vanished, a_programs_own_fault_handler_still_gets_its_faults) {
  Child child([](int, int) {
    page = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction action {};
    action.sa_sigaction = repair;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
    Pair pair;
    *static_cast<volatile char*>(page) = 1;
    EXPECT_EQ(seen, 1);
    expect_local_error(pair.a, pair.b.name(), IBV_WR_RDMA_WRITE, 100);
    EXPECT_EQ(seen, 1);
    // A handler that comes later, and the registration that puts ours before it.
    sigaction(SIGSEGV, &action, nullptr);
    Pair other;
    expect_local_error(other.a, other.b.name(), IBV_WR_RDMA_WRITE, 100);
    EXPECT_EQ(seen, 1);
    mprotect(page, 4096, PROT_NONE);
    *static_cast<volatile char*>(page) = 1;
    EXPECT_EQ(seen, 2);
  });
  EXPECT_EQ(child.finish(), 0);
}

TEST(Vanished, a_wild_pointer_of_the_program_kills_it_as_ever) {
  Child child([](int, int) {
    signal(SIGSEGV, SIG_DFL);
    Pair pair;
    *static_cast<volatile char*>(
        mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) = 1;
  });
  int status = child.finish();
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGSEGV);
}
