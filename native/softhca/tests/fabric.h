// Two connected endpoints in one process, and what tests do with them.
#pragma once

#include <gtest/gtest.h>
#include <infiniband/verbs.h>

#include <cstring>
#include <string>
#include <vector>

constexpr int all_access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                           IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_MW_BIND;
constexpr uint32_t test_qkey = 0x1234;

ibv_context* open_softhca();
// The way to a queue pair of this host: by the LID, or on a port of RoCE by an address.
void address_this_host(ibv_context* context, ibv_ah_attr* address);

// What one side has to know of the other; plain data, so that it goes through a pipe.
struct Name {
  uint32_t qp_num;
  uint32_t rkey;
  uint64_t address;
};

struct EndpointOptions {
  ibv_qp_type type = IBV_QPT_RC;
  int access = all_access;
  int qp_access = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
  bool with_srq = false;
  int cqe = 256;
  uint8_t rnr_retry = 7;
  uint8_t timeout = 10;  // 4.2 ms
  uint8_t retry_cnt = 1;
  uint8_t min_rnr_timer = 1;
  // Addresses 127.0.0.N of a port of RoCE; 0: the host's first.
  uint8_t from = 0, to = 0;
};

class Endpoint {
 public:
  explicit Endpoint(EndpointOptions options = {});
  ~Endpoint();

  Name name() const;
  int connect(const Name& peer);
  int modify_to_error();
  void reset_and_connect(const Name& peer);

  int post_recv(uint64_t id, size_t offset, uint32_t length);
  int post_recv_sge(uint64_t id, ibv_sge sge);
  ibv_send_wr make(uint64_t id, ibv_wr_opcode opcode, size_t offset, uint32_t length);
  int post(ibv_send_wr wr);
  ibv_sge sge(size_t offset, uint32_t length) const;

  // The next completion; fails the test if none comes in time.
  ibv_wc wait(int timeout_ms = 5000);
  bool idle();

  EndpointOptions options;
  ibv_context* context;
  ibv_pd* pd;
  ibv_comp_channel* channel;
  ibv_cq* cq;
  ibv_srq* srq = nullptr;
  ibv_qp* qp;
  ibv_mr* mr;
  ibv_ah* ah = nullptr;
  std::vector<uint8_t> memory;
  uint32_t remote_qp = 0;

 private:
  ibv_sge one_;
};

// Both of them connected with each other.
struct Pair {
  explicit Pair(EndpointOptions options = {}) : Pair(options, options) {}
  Pair(EndpointOptions left, EndpointOptions right) : a(left), b(right) {
    EXPECT_EQ(a.connect(b.name()), 0);
    EXPECT_EQ(b.connect(a.name()), 0);
  }
  Endpoint a, b;
};
