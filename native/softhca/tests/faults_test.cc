// Two engines over a network that loses, doubles, damages and delays packets: whatever it does,
// nothing is lost and nothing happens twice.
#include "softhca/links/faults.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "softhca/tests/transport_model.h"

namespace softhca::transport {
namespace {

using test::all_access;
using test::End;
using test::ModelDevice;

constexpr uint32_t number = 0x11;
constexpr uint64_t base = 0x10000;
constexpr uint64_t slot_bytes = 1 << 16;
constexpr uint32_t operations = 60;
// Of each device: what it sends or reads into, what it receives, what its peer writes and reads.
constexpr uint64_t local_at = base, receive_at = local_at + operations * slot_bytes,
                   remote_at = receive_at + operations * slot_bytes,
                   counter_at = remote_at + operations * slot_bytes, word_at = counter_at + 8,
                   memory_bytes = word_at + 8 - base;
constexpr uint32_t region_key = 0x100, first_window_key = 0x1000;

struct Conditions {
  const char* name;
  ibv_qp_type type;
  links::FaultRates rates;
};

const Conditions conditions[] = {
    {"Perfect", IBV_QPT_RC, {}},
    {"Loss", IBV_QPT_RC, {.loss = 0.05}},
    {"Duplication", IBV_QPT_RC, {.duplication = 0.1}},
    {"Corruption", IBV_QPT_RC, {.corruption = 0.05}},
    {"Reordering", IBV_QPT_RC, {.delay = 0.1, .delay_ns = 30'000}},
    {"Everything",
     IBV_QPT_RC,
     {.loss = 0.05, .duplication = 0.05, .corruption = 0.02, .delay = 0.1, .delay_ns = 200'000}},
    {"XrcEverything",
     IBV_QPT_XRC_RECV,
     {.loss = 0.05, .duplication = 0.05, .corruption = 0.02, .delay = 0.1, .delay_ns = 200'000}},
};

struct Expected {
  ReceiveCompletion completion;
  uint64_t from = 0;  // payload in the sender's memory
};

// One direction: what `from` asked of `to`.
class Direction {
 public:
  Direction(End& from, End& to, uint32_t mtu, bool xrc, std::mt19937_64& random)
      : from_(from), to_(to) {
    auto& queues = from.device.of(number);
    uint32_t receives = 0;
    for (uint32_t i = 0; i < operations; ++i) {
      const uint64_t sizes[] = {
          0, 1, 3, mtu - 1, mtu, mtu + 1, 2 * mtu, 5 * mtu - 2, random() % slot_bytes};
      const uint64_t local = local_at + i * slot_bytes, remote = remote_at + i * slot_bytes;
      SendWqe wqe;
      wqe.bytes = sizes[random() % std::size(sizes)];
      wqe.rkey = region_key;
      wqe.remote_address = remote;
      wqe.solicited = random() % 2;
      wqe.fence = random() % 8 == 0;
      wqe.immediate = uint32_t(random());
      wqe.srq = xrc ? 5 : 0;
      for (uint64_t at = 0; at < wqe.bytes; at += 8) from.device.store_word(local + at, random());
      constexpr ibv_wr_opcode opcodes[] = {
          IBV_WR_SEND,
          IBV_WR_SEND_WITH_IMM,
          IBV_WR_SEND_WITH_INV,
          IBV_WR_RDMA_WRITE,
          IBV_WR_RDMA_WRITE_WITH_IMM,
          IBV_WR_RDMA_READ,
          IBV_WR_ATOMIC_FETCH_AND_ADD,
          IBV_WR_ATOMIC_CMP_AND_SWP,
      };
      wqe.opcode = opcodes[random() % std::size(opcodes)];
      Expected expected;
      expected.completion.solicited = wqe.solicited;
      expected.completion.source_qp = number;
      expected.completion.bytes = wqe.bytes;
      expected.from = local;
      bool receives_one = true;
      switch (wqe.opcode) {
        case IBV_WR_SEND_WITH_INV:
          wqe.immediate = first_window_key + i;
          to.device.add_region(wqe.immediate, remote, 1, all_access);
          expected.completion.flags = IBV_WC_WITH_INV;
          expected.completion.immediate = wqe.immediate;
          break;
        case IBV_WR_SEND:
          break;
        case IBV_WR_RDMA_WRITE_WITH_IMM:
          expected.completion.opcode = IBV_WC_RECV_RDMA_WITH_IMM;
          [[fallthrough]];
        case IBV_WR_SEND_WITH_IMM:
          expected.completion.flags = IBV_WC_WITH_IMM;
          expected.completion.immediate = wqe.immediate;
          break;
        case IBV_WR_RDMA_READ:
          for (uint64_t at = 0; at < wqe.bytes; at += 8)
            to.device.store_word(remote + at, random());
          receives_one = false;
          break;
        case IBV_WR_ATOMIC_FETCH_AND_ADD:
          wqe.bytes = 8;
          wqe.remote_address = counter_at;
          wqe.compare_add = 1;
          receives_one = false;
          break;
        case IBV_WR_ATOMIC_CMP_AND_SWP:
          wqe.bytes = 8;
          wqe.remote_address = word_at;
          wqe.compare_add = swaps_;
          wqe.swap = ++swaps_;
          receives_one = false;
          break;
        default:
          receives_one = false;
      }
      if (receives_one) {
        expected_.push_back(expected);
        pending_receives_.push_back({receive_at + receives++ * slot_bytes, slot_bytes});
      }
      wqes_.push_back(wqe);
      queues.sends.push_back({wqe, local});
    }
    to.device.add_region(region_key, remote_at, memory_bytes + base - remote_at, all_access);
  }

  // Receives come too late now and then, so that there are RNR NAKs.
  void post_some(std::mt19937_64& random) {
    if (pending_receives_.empty() || random() % 4 != 0) return;
    to_.device.of(number).receives.push_back(pending_receives_.front());
    pending_receives_.pop_front();
  }

  bool done() const {
    return from_.device.of(number).sent.size() == operations &&
           to_.device.of(number).received.size() == expected_.size();
  }

  void check() const {
    auto& queues = from_.device.of(number);
    ASSERT_EQ(queues.sent.size(), operations);
    uint64_t counter = 0, word = 0;
    for (uint32_t i = 0; i < operations; ++i) {
      const SendWqe& wqe = wqes_[i];
      ASSERT_EQ(queues.sent[i].status, IBV_WC_SUCCESS) << "request " << i;
      ASSERT_EQ(queues.sent[i].bytes, wqe.bytes);
      const uint64_t local = local_at + i * slot_bytes;
      switch (wqe.opcode) {
        case IBV_WR_RDMA_WRITE:
        case IBV_WR_RDMA_WRITE_WITH_IMM:
        case IBV_WR_RDMA_READ:
          ASSERT_TRUE(same(local, wqe.remote_address, wqe.bytes)) << "request " << i;
          break;
        case IBV_WR_ATOMIC_FETCH_AND_ADD:
          ASSERT_EQ(from_.device.load_word(local), counter++);
          break;
        case IBV_WR_ATOMIC_CMP_AND_SWP:
          ASSERT_EQ(from_.device.load_word(local), word++);
          break;
        case IBV_WR_SEND_WITH_INV:
          ASSERT_FALSE(to_.device.region(wqe.immediate).valid);
          break;
        default:
          break;
      }
    }
    ASSERT_EQ(to_.device.load_word(counter_at), counter);
    ASSERT_EQ(to_.device.load_word(word_at), word);
    ASSERT_EQ(to_.device.atomics, counter + word);
    const auto& received = to_.device.of(number).received;
    ASSERT_EQ(received.size(), expected_.size());
    for (size_t i = 0; i < received.size(); ++i) {
      const ReceiveCompletion& expected = expected_[i].completion;
      ASSERT_EQ(received[i].status, IBV_WC_SUCCESS);
      ASSERT_EQ(received[i].opcode, expected.opcode);
      ASSERT_EQ(received[i].bytes, expected.bytes);
      ASSERT_EQ(received[i].flags, expected.flags);
      ASSERT_EQ(received[i].immediate, expected.immediate);
      ASSERT_EQ(received[i].source_qp, expected.source_qp);
      ASSERT_EQ(received[i].solicited, expected.solicited);
      if (expected.opcode == IBV_WC_RECV)
        ASSERT_TRUE(same(expected_[i].from, receive_at + i * slot_bytes, expected.bytes));
    }
  }

 private:
  bool same(uint64_t local, uint64_t remote, uint64_t bytes) const {
    const auto ours = from_.device.memory(local, bytes), theirs = to_.device.memory(remote, bytes);
    return std::equal(ours.begin(), ours.end(), theirs.begin());
  }

  End& from_;
  End& to_;
  std::vector<SendWqe> wqes_;
  std::vector<Expected> expected_;
  std::deque<ModelDevice::Receive> pending_receives_;
  uint64_t swaps_ = 0;
};

wire::Gid gid(uint8_t host, bool ipv6) {
  if (!ipv6) return wire::ipv4_gid({10, 0, 0, host});
  return {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host};
}

class Faults : public testing::TestWithParam<Conditions> {};

TEST_P(Faults, LoseNothingAndDoNothingTwice) {
  const Conditions& condition = GetParam();
  const uint64_t first_seed = 20060628;
  for (uint64_t turn = 0; turn < 10; ++turn) {
    const uint64_t seed = first_seed + turn;
    SCOPED_TRACE("seed " + std::to_string(seed));
    const uint32_t mtu = 256U << turn % 5;
    const bool ipv6 = turn % 2;
    std::mt19937_64 random(seed);
    End a(memory_bytes), b(memory_bytes);
    a.pipe.connect(b.pipe);
    b.pipe.connect(a.pipe);
    links::Faults from_a(a.pipe, condition.rates, seed), from_b(b.pipe, condition.rates, ~seed);
    a.attach(&from_a);
    b.attach(&from_b);
    const bool xrc = condition.type == IBV_QPT_XRC_RECV;
    test::Connection connection;
    connection.type = condition.type;
    connection.a = gid(1, ipv6);
    connection.b = gid(2, ipv6);
    connection.send_depth = operations;
    connection.receiving.mtu_bytes = mtu;
    connection.sending.sq_psn = 0xffffe0;  // wraps around meanwhile
    test::connect(a, b, connection);
    Direction there(a, b, mtu, xrc, random), back(b, a, mtu, xrc, random);
    a.engine->wake(number);
    b.engine->wake(number);
    uint64_t steps = 0;
    test::run(a, b, 0, [&] {
      there.post_some(random);
      back.post_some(random);
      return (there.done() && back.done()) || ++steps > 1'000'000;
    });
    // What is still on its way must not do anything any more.
    test::run(a, b, 1'000'000'000'000, [&] { return ++steps > 2'000'000; });
    there.check();
    back.check();
    if (HasFatalFailure()) return;
    const auto& counts = from_a.counts();
    if (condition.rates.loss > 0) EXPECT_GT(counts.lost, 0U);
    if (condition.rates.duplication > 0) EXPECT_GT(counts.duplicated, 0U);
    if (condition.rates.delay > 0) EXPECT_GT(counts.delayed, 0U);
    if (condition.rates.corruption > 0) {
      EXPECT_GT(counts.corrupted, 0U);
      EXPECT_GT(b.engine->counters()[Counter::dropped_icrc], 0U);
    }
    if (std::string(condition.name) == "Perfect")
      EXPECT_EQ(a.engine->counters()[Counter::timeouts], 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(Network, Faults, testing::ValuesIn(conditions),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace softhca::transport
