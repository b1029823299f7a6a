// Two processes: the same traffic, and what is left when one of them is killed at any moment.
#include <chrono>
#include <cstdlib>
#include <random>

#include "child.h"
#include "fabric.h"

namespace {

// Sends, writes, reads and adds without end, or until something fails.
void hammer(Endpoint& endpoint, const Name& peer, int rounds) {
  for (int i = 0; rounds < 0 || i < rounds; ++i) {
    ibv_send_wr wr = endpoint.make(1, IBV_WR_SEND, 0, 2000);
    if (i % 4 == 1) {
      wr.opcode = IBV_WR_RDMA_WRITE;
      wr.wr.rdma = {peer.address, peer.rkey};
    } else if (i % 4 == 2) {
      wr.opcode = IBV_WR_RDMA_READ;
      wr.wr.rdma = {peer.address, peer.rkey};
    } else if (i % 4 == 3) {
      wr.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
      wr.sg_list->length = 8;
      wr.wr.atomic = {peer.address + 32768, 1, 0, peer.rkey};
    }
    if (endpoint.post(wr) != 0) return;
    ibv_wc wc;
    while (ibv_poll_cq(endpoint.cq, 1, &wc) == 0) {
    }
    ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
  }
}

}  // namespace

TEST(Processes, all_operations_work_between_two_processes) {
  constexpr int rounds = 400;
  Child child([](int in, int out) {
    Endpoint mine;
    put(out, mine.name());
    Name peer = get<Name>(in);
    ASSERT_EQ(mine.connect(peer), 0);
    put(out, 'r');
    get<char>(in);
    for (size_t i = 0; i < 2000; ++i) mine.memory[i] = uint8_t(i * 3);
    hammer(mine, peer, rounds);
    // The last operation of all is one that the other side can check.
    for (size_t i = 0; i < 2000; ++i) mine.memory[i] = uint8_t(i * 3);
    ASSERT_EQ(mine.post(mine.make(1, IBV_WR_SEND, 0, 2000)), 0);
    EXPECT_EQ(mine.wait().status, IBV_WC_SUCCESS);
    get<char>(in);
  });
  Name theirs = get<Name>(child.from);
  Endpoint mine;
  put(child.to, mine.name());
  get<char>(child.from);
  ASSERT_EQ(mine.connect(theirs), 0);
  for (uint64_t i = 0; i < 32; ++i) ASSERT_EQ(mine.post_recv(i, 8192, 2000), 0);
  put(child.to, 'g');
  for (int i = 0; i < rounds / 4 + 1; ++i) {
    ibv_wc wc = mine.wait();
    ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
    ASSERT_EQ(wc.byte_len, 2000u);
    if (i < rounds / 4 - 32 + 1) ASSERT_EQ(mine.post_recv(1, 8192, 2000), 0);
  }
  for (size_t i = 0; i < 2000; ++i) ASSERT_EQ(mine.memory[8192 + i], uint8_t(i * 3)) << i;
  uint64_t sum;
  memcpy(&sum, &mine.memory[32768], 8);
  EXPECT_EQ(sum, uint64_t(rounds / 4));
  put(child.to, 'x');
  EXPECT_EQ(child.finish(), 0);
}

TEST(Processes, who_sends_to_a_killed_process_gets_retry_exceeded) {
  Child child([](int in, int out) {
    Endpoint mine;
    put(out, mine.name());
    mine.connect(get<Name>(in));
    put(out, 'r');
    pause();
  });
  Name theirs = get<Name>(child.from);
  Endpoint mine;
  put(child.to, mine.name());
  get<char>(child.from);
  ASSERT_EQ(mine.connect(theirs), 0);
  ASSERT_EQ(kill(child.pid, SIGKILL), 0);
  child.finish();
  ibv_send_wr wr = mine.make(1, IBV_WR_RDMA_WRITE, 0, 8);
  wr.wr.rdma = {theirs.address, theirs.rkey};
  ASSERT_EQ(mine.post(wr), 0);
  EXPECT_EQ(mine.wait().status, IBV_WC_RETRY_EXC_ERR);
}

TEST(Processes, a_sender_killed_at_any_moment_leaves_the_receiver_able_to_go_on) {
  unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const char* wanted = getenv("SOFTHCA_ROUNDS");
  const int rounds = wanted ? atoi(wanted) : 25;
  for (int round = 0; round < rounds; ++round) {
    Child child([](int in, int out) {
      Endpoint mine;
      put(out, mine.name());
      Name peer = get<Name>(in);
      mine.connect(peer);
      put(out, 'r');
      get<char>(in);
      hammer(mine, peer, -1);
    });
    Name theirs = get<Name>(child.from);
    // The receiver has a second connection, to itself, through the same queues.
    Endpoint mine({.with_srq = true});
    put(child.to, mine.name());
    get<char>(child.from);
    ASSERT_EQ(mine.connect(theirs), 0);
    for (uint64_t i = 0; i < 48; ++i) ASSERT_EQ(mine.post_recv(i, 8192, 2000), 0);
    put(child.to, 'g');
    auto poll_all = [&] {
      ibv_wc wc;
      while (ibv_poll_cq(mine.cq, 1, &wc) == 1) mine.post_recv(1, 8192, 2000);
    };
    auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 5000);
    while (std::chrono::steady_clock::now() < until) poll_all();
    ASSERT_EQ(kill(child.pid, SIGKILL), 0);
    child.finish();
    // Every lock it held is free again: all of this returns.
    poll_all();
    mine.post_recv(1, 8192, 2000);
    ASSERT_EQ(mine.modify_to_error(), 0);
    Endpoint self({.with_srq = true});
    mine.reset_and_connect(self.name());
    ASSERT_EQ(self.connect(mine.name()), 0);
    ASSERT_EQ(self.post(self.make(1, IBV_WR_SEND, 0, 16)), 0);
    ASSERT_EQ(self.wait().status, IBV_WC_SUCCESS);
  }
}

// The mortal process is now the receiver, now the sender; receives are numbered, so that one that
// completes twice or is lost shows.
TEST(Processes, a_process_killed_at_any_moment_completes_no_receive_twice) {
  unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const char* wanted = getenv("SOFTHCA_ROUNDS");
  const int rounds = wanted ? atoi(wanted) : 20;
  for (int round = 0; round < rounds; ++round) {
    const bool shared = round % 2;
    Child child([](int in, int out) {
      Endpoint mine;
      put(out, mine.name());
      Name peer = get<Name>(in);
      mine.connect(peer);
      for (uint64_t i = 0; i < 60; ++i) mine.post_recv(i, 8192, 2000);
      put(out, 'r');
      get<char>(in);
      for (;;) {
        mine.post(mine.make(1, IBV_WR_SEND, 0, 64));
        ibv_wc wc;
        while (ibv_poll_cq(mine.cq, 1, &wc) == 1)
          if (wc.opcode & IBV_WC_RECV) mine.post_recv(1, 8192, 2000);
      }
    });
    Name theirs = get<Name>(child.from);
    Endpoint mine({.with_srq = shared, .timeout = 8, .retry_cnt = 0});
    put(child.to, mine.name());
    get<char>(child.from);
    ASSERT_EQ(mine.connect(theirs), 0);
    uint64_t posted = 0, expected = 0, sends = 0, finished = 0;
    while (posted < 48) ASSERT_EQ(mine.post_recv(posted++, 8192, 2000), 0);
    put(child.to, 'g');
    bool failed = false;
    auto take = [&](const ibv_wc& wc) {
      if (wc.opcode & IBV_WC_RECV) {
        EXPECT_EQ(wc.wr_id, expected++);
        if (wc.status == IBV_WC_SUCCESS) EXPECT_EQ(mine.post_recv(posted++, 8192, 2000), 0);
      } else {
        EXPECT_EQ(wc.wr_id, finished++);
        failed = failed || wc.status != IBV_WC_SUCCESS;
        EXPECT_TRUE(wc.status == IBV_WC_SUCCESS || wc.status == IBV_WC_RETRY_EXC_ERR ||
                    wc.status == IBV_WC_WR_FLUSH_ERR)
            << ibv_wc_status_str(wc.status);
      }
    };
    auto step = [&] {
      if (sends - finished < 32 && !failed)
        ASSERT_EQ(mine.post(mine.make(sends++, IBV_WR_SEND, 0, 64)), 0);
      ibv_wc wc;
      while (ibv_poll_cq(mine.cq, 1, &wc) == 1) take(wc);
    };
    auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 3000);
    while (std::chrono::steady_clock::now() < until) step();
    ASSERT_EQ(kill(child.pid, SIGKILL), 0);
    child.finish();
    // The survivor learns of it by its next send, and every request of its own comes to an end.
    until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!(failed && finished == sends) && std::chrono::steady_clock::now() < until) step();
    ASSERT_TRUE(failed) << "no send failed";
    ASSERT_EQ(finished, sends);
    if (!shared) {
      ibv_wc wc;
      while (ibv_poll_cq(mine.cq, 1, &wc) == 1) take(wc);
      EXPECT_EQ(expected, posted) << "every receive is completed or flushed once";
    }
    if (HasFailure()) break;
  }
}

TEST(Processes, a_fork_child_cannot_use_the_parents_objects_but_can_open_its_own) {
  Endpoint mine;
  pid_t pid = fork();
  if (pid == 0) {
    int bad = 0;
    ibv_wc wc;
    if (ibv_poll_cq(mine.cq, 1, &wc) >= 0) bad |= 1;
    if (mine.post(mine.make(1, IBV_WR_SEND, 0, 8)) == 0) bad |= 2;
    ibv_device** list = ibv_get_device_list(nullptr);
    ibv_context* context = ibv_open_device(list[0]);
    if (!context) bad |= 4;
    _exit(bad);
  }
  int status;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  ASSERT_EQ(mine.connect(mine.name()), 0);
}
