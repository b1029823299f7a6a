// A process killed at any point of its life: its peer goes on, and has nothing of it left.
#include <dirent.h>
#include <poll.h>

#include <chrono>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>

#include "child.h"
#include "fabric.h"

#undef ibv_reg_mr

namespace {

using Clock = std::chrono::steady_clock;

int descriptors() {
  int count = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (readdir(directory)) ++count;
  closedir(directory);
  return count;
}

// Mappings of files of the device: what a peer's segment and keys are here.
int mapped_files() {
  int count = 0;
  char line[1024];
  FILE* table = fopen("/proc/self/maps", "re");
  while (fgets(line, sizeof line, table))
    count += strstr(line, "/memfd:viaduct-softhca") != nullptr;
  fclose(table);
  return count;
}

// Whether the process that gave out this queue pair's number still listens for peers.
bool listens(uint32_t qp_num) {
  const std::string name =
      "@viaduct-softhca/" + std::to_string(geteuid()) + "/" + std::to_string(qp_num >> 14) + "\n";
  bool found = false;
  char line[512];
  FILE* table = fopen("/proc/net/unix", "re");
  while (fgets(line, sizeof line, table))
    found = found || (strstr(line, name.c_str()) && strstr(line, " 00010000 "));
  fclose(table);
  return found;
}

// Opens and closes, registers, connects, sends and receives, until it is killed.
void live(int in, int out) {
  Endpoint mine;
  put(out, mine.name());
  const Name peer = get<Name>(in);
  ASSERT_EQ(mine.connect(peer), 0);
  put(out, 'r');
  for (uint64_t round = 0;; ++round) {
    Endpoint other({.with_srq = round % 2 == 0});
    other.connect(peer);
    other.post_recv(1, 0, 64);
    mine.post(mine.make(round, round % 3 ? IBV_WR_SEND : IBV_WR_SEND_WITH_IMM, 0, 64));
    ibv_send_wr wr = mine.make(round, IBV_WR_RDMA_WRITE, 0, 1024);
    wr.wr.rdma = {peer.address, peer.rkey};
    mine.post(wr);
    ibv_wc wc;
    while (ibv_poll_cq(mine.cq, 1, &wc) == 1) {
    }
  }
}

bool readable(int fd, int timeout_ms) {
  pollfd waiting{fd, POLLIN, 0};
  return poll(&waiting, 1, timeout_ms) == 1 && (waiting.revents & POLLIN);
}

}  // namespace

TEST(Killed, at_any_point_of_its_life_a_process_leaves_nothing_with_its_peer) {
  unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  Endpoint mine;
  // The first of these is what a peer that lived leaves for good, such as lazily made threads.
  int before_descriptors = 0, before_mapped = 0;
  const char* wanted = getenv("SOFTHCA_ROUNDS");
  const int rounds = wanted ? atoi(wanted) : 30;
  for (int round = 0; round < rounds; ++round) {
    Name theirs{};
    {
      Child child(live);
      // From before it opened the device, when the delay is short, to amid its traffic.
      const auto moment =
          Clock::now() +
          std::chrono::microseconds(round == 0 ? 200000 : random() % (round % 2 ? 4000 : 40000));
      if (readable(child.from, round == 0 ? 5000 : 30)) {
        theirs = get<Name>(child.from);
        put(child.to, mine.name());
        ASSERT_EQ(mine.connect(theirs), 0);
        for (uint64_t i = 0; i < 16; ++i) ASSERT_EQ(mine.post_recv(i, 4096, 64), 0);
      }
      while (Clock::now() < moment) {
        ibv_wc wc;
        while (ibv_poll_cq(mine.cq, 1, &wc) == 1) mine.post_recv(1, 4096, 64);
        std::this_thread::yield();
      }
      ASSERT_EQ(kill(child.pid, SIGKILL), 0);
      child.finish();
    }
    // It goes on: a message to itself, through the same queues.
    mine.reset_and_connect(mine.name());
    ASSERT_EQ(mine.post_recv(1, 4096, 64), 0);
    ASSERT_EQ(mine.post(mine.make(2, IBV_WR_SEND, 0, 16)), 0);
    ASSERT_EQ(mine.wait().status, IBV_WC_SUCCESS);
    ASSERT_EQ(mine.wait().status, IBV_WC_SUCCESS);
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_RESET;
    ASSERT_EQ(ibv_modify_qp(mine.qp, &attr, IBV_QP_STATE), 0);
    if (round == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      before_descriptors = descriptors();
      before_mapped = mapped_files();
    }
    // The agent hears of a departure in its own time.
    const auto until = Clock::now() + std::chrono::seconds(10);
    while ((descriptors() > before_descriptors || mapped_files() > before_mapped ||
            (theirs.qp_num != 0 && listens(theirs.qp_num))) &&
           Clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ASSERT_LE(descriptors(), before_descriptors) << "round " << round;
    ASSERT_LE(mapped_files(), before_mapped) << "round " << round;
    ASSERT_FALSE(theirs.qp_num != 0 && listens(theirs.qp_num)) << "round " << round;
  }
}
