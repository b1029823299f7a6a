// Several processes at one address of RoCEv2: those of one user share its port, and each gets what
// is its own; another user's are refused it, and have one at another address.
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "child.h"
#include "fabric.h"
#include "softhca/extensions.h"
#include "users.h"

namespace {

// A process of that user that writes to the one it is told of, and reads that back, whenever it is
// told to.
Child writer(uid_t user, EndpointOptions options) {
  return Child([=](int in, int out) {
    become(user);
    Endpoint mine(options);
    put(out, mine.name());
    const Name peer = get<Name>(in);
    ASSERT_EQ(mine.connect(peer), 0) << viaduct_problem();
    put(out, 'r');
    const uint64_t mark = mine.qp->qp_num;
    for (uint64_t round = mark; get<char>(in) == 'g'; ++round) {
      memcpy(mine.memory.data(), &round, sizeof round);
      for (const auto& [opcode, offset] :
           {std::pair{IBV_WR_RDMA_WRITE, 0}, std::pair{IBV_WR_RDMA_READ, 64}}) {
        ibv_send_wr wr = mine.make(1, opcode, size_t(offset), sizeof round);
        wr.wr.rdma = {peer.address + 128, peer.rkey};
        ASSERT_EQ(mine.post(wr), 0);
        ASSERT_EQ(mine.wait().status, IBV_WC_SUCCESS);
      }
      EXPECT_EQ(memcmp(&mine.memory[64], &round, sizeof round), 0);
      put(out, 'd');
    }
  });
}

void introduce(Child& a, Child& b) {
  const Name first = get<Name>(a.from), second = get<Name>(b.from);
  put(a.to, second);
  put(b.to, first);
  get<char>(a.from);
  get<char>(b.from);
}

void exchange(const std::vector<Child*>& children, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    for (Child* child : children) {
      put(child->to, 'g');
      ASSERT_EQ(get<char>(child->from), 'd');
    }
  }
}

void end(const std::vector<Child*>& children) {
  for (Child* child : children) put(child->to, 'x');
  for (Child* child : children) EXPECT_EQ(child->finish(), 0);
}

void add_loopback_address(const char* alias, uint8_t number) {
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", alias);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number - 1U);
  memcpy(&request.ifr_addr, &address, sizeof address);
  EXPECT_EQ(ioctl(descriptor, SIOCSIFADDR, &request), 0) << strerror(errno);
  close(descriptor);
}

class SharedPort : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can act as two users";
  }
};

}  // namespace

TEST_F(SharedPort, four_processes_of_one_user_get_each_its_own_also_when_one_has_ended) {
  Child a = writer(one_user, {}), b = writer(one_user, {});
  introduce(a, b);
  {
    Child c = writer(one_user, {}), d = writer(one_user, {});
    introduce(c, d);
    exchange({&a, &b, &c, &d}, 50);
    kill(d.pid, SIGKILL);
    EXPECT_TRUE(WIFSIGNALED(d.finish()));
    end({&c});
  }
  exchange({&a, &b}, 10);
  end({&a, &b});
}

// On one address the kernel gives all packets of one host to one of the processes: also the
// acknowledgement of what a process got last, which comes back to itself.
TEST_F(SharedPort, who_ends_hands_on_what_came_to_it_for_others) {
  for (int round = 0; round < 20; ++round) {
    const auto receiver = [](int in, int out) {
      Endpoint mine({.retry_cnt = 0});
      put(out, mine.name());
      ASSERT_EQ(mine.connect(get<Name>(in)), 0);
      ASSERT_EQ(mine.post_recv(1, 0, 8), 0);
      put(out, 'r');
      ASSERT_EQ(mine.wait().status, IBV_WC_SUCCESS);
      exit(0);
    };
    const auto sender = [](int in, int out) {
      Endpoint mine({.retry_cnt = 0});
      put(out, mine.name());
      ASSERT_EQ(mine.connect(get<Name>(in)), 0);
      put(out, 'r');
      get<char>(in);
      ASSERT_EQ(mine.post(mine.make(1, IBV_WR_SEND, 0, 8)), 0);
      EXPECT_EQ(mine.wait().status, IBV_WC_SUCCESS);
    };
    Child a(receiver), b(sender);
    introduce(a, b);
    put(b.to, 'g');
    EXPECT_EQ(b.finish(), 0) << "in round " << round;
    EXPECT_EQ(a.finish(), 0);
  }
}

TEST_F(SharedPort, another_user_is_told_who_has_it_and_disturbs_nobody) {
  Child a = writer(one_user, {}), b = writer(one_user, {});
  introduce(a, b);
  Child stranger([](int, int) {
    become(another_user);
    Endpoint mine;
    EXPECT_EQ(mine.connect({0x4321, 0, 0}), EADDRINUSE);
    const std::string problem = viaduct_problem();
    EXPECT_NE(problem.find("a process of user 65533 (processes of one user alone share a port; "
                           "send from another address) has it"),
              std::string::npos)
        << problem;
  });
  EXPECT_EQ(stranger.finish(), 0);
  exchange({&a, &b}, 20);
  end({&a, &b});
}

TEST_F(SharedPort, two_users_reach_each_other_from_addresses_of_their_own) {
  add_loopback_address("lo:1", 2);
  Child a = writer(one_user, {.from = 1, .to = 2}), b = writer(another_user, {.from = 2, .to = 1});
  introduce(a, b);
  exchange({&a, &b}, 20);
  end({&a, &b});
}
