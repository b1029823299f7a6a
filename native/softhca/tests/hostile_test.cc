// A peer that lies: it writes anything to all that it may write of another process, while that
// works.
#include <fcntl.h>

#include <chrono>
#include <cstdio>
#include <random>
#include <thread>

#include "child.h"
#include "fabric.h"
#include "softhca/host.h"

#undef ibv_reg_mr

using namespace softhca;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto duration = std::chrono::milliseconds(1500);

void drain(Endpoint& endpoint) {
  ibv_wc wc[16];
  for (int i = 0; i < 16 && ibv_poll_cq(endpoint.cq, 16, wc) > 0; ++i) {
  }
  ibv_async_event event;
  for (int i = 0; i < 16 && ibv_get_async_event(endpoint.context, &event) == 0; ++i)
    ibv_ack_async_event(&event);
  ibv_cq* cq;
  void* context;
  for (int i = 0; i < 16 && ibv_get_cq_event(endpoint.channel, &cq, &context) == 0; ++i)
    ibv_ack_cq_events(cq, 1);
  ibv_req_notify_cq(endpoint.cq, 0);
}

void set_nonblocking(Endpoint& endpoint) {
  for (int fd : {endpoint.channel->fd, endpoint.context->async_fd})
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

// Every kind of traffic between two queue pairs of its own, whatever comes of it.
void suffer(int out, bool with_srq) {
  // What goes wrong is not this test's failure, as long as it goes on.
  if (!freopen("/dev/null", "w", stdout)) _exit(2);
  put(out, Host::get()->slot());
  auto until = Clock::now() + duration;
  uint64_t rounds = 0;
  while (Clock::now() < until) {
    Pair pair({.timeout = 1, .retry_cnt = 0}, {.with_srq = with_srq});
    set_nonblocking(pair.a);
    set_nonblocking(pair.b);
    for (int i = 0; i < 200 && Clock::now() < until; ++i, ++rounds) {
      pair.b.post_recv(1, 8192, 2000);
      ibv_send_wr wr = pair.a.make(1, IBV_WR_SEND, 0, 2000);
      Name peer = pair.b.name();
      if (i % 4 == 1) wr.opcode = IBV_WR_RDMA_WRITE;
      if (i % 4 == 2) wr.opcode = IBV_WR_RDMA_READ;
      if (i % 4 != 0) wr.wr.rdma = {peer.address, peer.rkey};
      if (i % 4 == 3) {
        wr.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
        wr.sg_list->length = 8;
        wr.wr.atomic = {peer.address, 1, 0, peer.rkey};
      }
      pair.a.post(wr);
      drain(pair.a);
      drain(pair.b);
      if (i % 50 == 49) ibv_resize_cq(pair.a.cq, 128);
      if (i == 24 && pair.b.srq) {
        ibv_srq_attr size{128, 0, 0};
        ibv_modify_srq(pair.b.srq, &size, IBV_SRQ_MAX_WR);
      }
    }
    pair.a.modify_to_error();
    drain(pair.a);
    drain(pair.b);
  }
  put(out, rounds);
  _exit(0);
}

class Scribbler {
 public:
  Scribbler(Segment& segment, unsigned seed) : segment_(segment), random_(seed) {}

  void scribble() {
    switch (random_() % 6) {
      case 0:
        return over(&segment_.header, sizeof segment_.header);
      case 1:
        return over(&segment_.context[random_() % 8], sizeof(ContextShared));
      case 2:
        return over(&segment_.cq[random_() % 64], sizeof(CqShared));
      case 3:
        return over(&segment_.srq[random_() % 64], sizeof(SrqShared));
      case 4:
        // Indices start below 256 and go on from there.
        return over(&segment_.qp[random_() % 320], sizeof(QpShared));
      default:
        return over(reinterpret_cast<uint8_t*>(&segment_) + heap_begin, 1 << 18);
    }
  }

 private:
  void over(void* at, size_t bytes) {
    uint32_t* word = static_cast<uint32_t*>(at) + random_() % (bytes / 4);
    uint32_t value = uint32_t(random_());
    switch (random_() % 4) {
      case 0:
        value = 0;
        break;
      case 1:
        value = value % 300 << random_() % 2 * 16;
        break;
      case 2:
        value = __atomic_load_n(word, __ATOMIC_RELAXED) ^ 1u << value % 32;
        break;
      default:
        break;
    }
    // A lock word that names a living holder (1, 2) is waited for some seconds: not often.
    if ((value >> 16 == 1 || value >> 16 == 2) && random_() % 16 != 0) value += 2 << 16;
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
  }

  Segment& segment_;
  std::mt19937 random_;
};

void attack(bool with_srq) {
  unsigned seed = std::random_device{}();
  if (const char* given = getenv("SOFTHCA_SEED")) seed = unsigned(strtoul(given, nullptr, 0));
  printf("seed %u\n", seed);
  fflush(stdout);
  Child victim([&](int, int out) { suffer(out, with_srq); });
  uint32_t slot = get<uint32_t>(victim.from);
  auto site = Host::get()->reach(slot);
  ASSERT_NE(site, nullptr);
  Scribbler scribbler(*site->segment, seed);
  int status = 0;
  pid_t ended = 0;
  auto until = Clock::now() + std::chrono::seconds(60);
  while (ended == 0 && Clock::now() < until) {
    for (int i = 0; i < 8; ++i) scribbler.scribble();
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    ended = waitpid(victim.pid, &status, WNOHANG);
  }
  if (ended == 0) {
    kill(victim.pid, SIGKILL);
    victim.finish();
    FAIL() << "the victim hangs; seed " << seed;
  }
  ASSERT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status) << "; seed " << seed;
  EXPECT_EQ(WEXITSTATUS(status), 0) << "seed " << seed;
  EXPECT_GT(get<uint64_t>(victim.from), 0u);
}

}  // namespace

TEST(Hostile, a_peer_that_writes_anything_brings_errors_but_no_crash_and_no_hang) { attack(false); }

TEST(Hostile, nor_does_one_that_writes_to_shared_receive_queues) { attack(true); }
