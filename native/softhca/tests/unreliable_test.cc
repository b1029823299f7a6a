// Two engines over a bad network, by the services that don't promise delivery: what arrives is what
// was sent, and whole.
//
// UC drops a message of which a packet is missing (9.8.2). Neither service can tell a packet that
// the network doubled from a new one, so with duplication a message may arrive twice: InfiniBand's
// networks don't double packets, and IP's may.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "softhca/links/faults.h"
#include "softhca/tests/transport_model.h"

namespace softhca::transport {
namespace {

using test::all_access;
using test::End;

constexpr uint32_t number = 0x11, key = 0x100, qkey = 0x1111;
constexpr uint64_t base = 0x10000, slot_bytes = 8192;
constexpr uint64_t messages = 120;
// Of the sender, what it sends; of the receiver, what is received and what is written. A network
// that doubles packets needs more receives than there are messages.
constexpr uint64_t sent_at = base, received_at = base,
                   written_at = received_at + 3 * messages * slot_bytes,
                   memory_bytes = 4 * messages * slot_bytes;
constexpr size_t grh_bytes = 40;

struct Conditions {
  const char* name;
  ibv_qp_type type;
  links::FaultRates rates;
};

constexpr links::FaultRates everything{
    .loss = 0.03, .duplication = 0.05, .corruption = 0.02, .delay = 0.1, .delay_ns = 50'000};
const Conditions conditions[] = {
    {"UcPerfect", IBV_QPT_UC, {}},
    {"UcLoss", IBV_QPT_UC, {.loss = 0.05}},
    {"UcCorruption", IBV_QPT_UC, {.corruption = 0.05}},
    {"UcDuplication", IBV_QPT_UC, {.duplication = 0.1}},
    {"UcReordering", IBV_QPT_UC, {.delay = 0.1, .delay_ns = 30'000}},
    {"UcEverything", IBV_QPT_UC, everything},
    {"UdPerfect", IBV_QPT_UD, {}},
    {"UdLoss", IBV_QPT_UD, {.loss = 0.05}},
    {"UdDuplication", IBV_QPT_UD, {.duplication = 0.1}},
    {"UdEverything", IBV_QPT_UD, everything},
};

class Unreliable : public testing::TestWithParam<Conditions> {
 protected:
  bool datagrams() const { return GetParam().type == IBV_QPT_UD; }

  // Message i carries i as its immediate.
  void post_all(End& a, End& b, uint32_t mtu, std::mt19937_64& random) {
    for (uint32_t i = 0; i < messages; ++i) {
      const uint64_t sizes[] = {
          0, 1, mtu - 1, mtu, mtu + 1, 3 * uint64_t(mtu), random() % slot_bytes};
      const uint64_t local = sent_at + i * slot_bytes;
      for (uint64_t at = 0; at < slot_bytes; at += 8) a.device.store_word(local + at, random());
      SendWqe wqe;
      wqe.bytes = sizes[random() % (datagrams() ? 4 : std::size(sizes))];
      wqe.bytes = std::min<uint64_t>(wqe.bytes, slot_bytes - grh_bytes);
      wqe.immediate = i;
      wqe.rkey = key;
      wqe.remote_address = written_at + i * slot_bytes;
      wqe.opcode = datagrams() || random() % 2 ? IBV_WR_SEND_WITH_IMM : IBV_WR_RDMA_WRITE_WITH_IMM;
      wqe.route = a.engine->find(number)->responder.attributes.route;
      wqe.remote_qp = number;
      wqe.remote_qkey = qkey;
      a.device.of(number).sends.push_back({wqe, local});
      sent.push_back(wqe);
    }
    for (uint32_t i = 0; i < 3 * messages; ++i)
      b.device.of(number).receives.push_back({received_at + i * slot_bytes, slot_bytes});
  }

  // The message of a completion, which is checked.
  void check(End& a, End& b, size_t at) {
    const ReceiveCompletion& completion = b.device.of(number).received[at];
    ASSERT_EQ(completion.status, IBV_WC_SUCCESS);
    ASSERT_LT(completion.immediate, messages);
    const SendWqe& wqe = sent[completion.immediate];
    const uint64_t grh = datagrams() ? grh_bytes : 0;
    ASSERT_EQ(completion.bytes, grh + wqe.bytes);
    const bool write = wqe.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
    ASSERT_EQ(completion.opcode, write ? IBV_WC_RECV_RDMA_WITH_IMM : IBV_WC_RECV);
    const uint64_t landed = write ? wqe.remote_address : received_at + at * slot_bytes + grh;
    const auto ours = a.device.memory(sent_at + completion.immediate * slot_bytes, wqe.bytes),
               theirs = b.device.memory(landed, wqe.bytes);
    ASSERT_TRUE(std::equal(ours.begin(), ours.end(), theirs.begin()))
        << "message " << completion.immediate << " is torn";
  }

  std::vector<SendWqe> sent;
};

TEST_P(Unreliable, DeliversWholeMessagesOrNone) {
  const links::FaultRates& rates = GetParam().rates;
  uint64_t delivered = 0, first_seed = 20060629;
  for (uint64_t turn = 0; turn < 10; ++turn) {
    const uint64_t seed = first_seed + turn;
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    sent.clear();
    End a(memory_bytes), b(memory_bytes);
    a.pipe.connect(b.pipe);
    b.pipe.connect(a.pipe);
    links::Faults from_a(a.pipe, rates, seed);
    a.attach(&from_a);
    b.attach();
    test::Connection connection;
    connection.type = GetParam().type;
    connection.send_depth = messages;
    connection.receiving.mtu_bytes = 256U << turn % 4;
    connection.receiving.qkey = qkey;
    connection.sending.sq_psn = 0xffffe0;  // wraps around meanwhile
    test::connect(a, b, connection);
    b.device.add_region(key, written_at, base + memory_bytes - written_at, all_access);
    post_all(a, b, connection.receiving.mtu_bytes, random);
    a.engine->wake(number);
    test::run(a, b, 0, [] { return false; });

    // The sender learns nothing of what happens to it.
    const auto& completions = a.device.of(number).sent;
    ASSERT_EQ(completions.size(), messages);
    for (const auto& completion : completions) ASSERT_EQ(completion.status, IBV_WC_SUCCESS);
    const auto& received = b.device.of(number).received;
    std::vector<uint32_t> times(messages);
    for (size_t i = 0; i < received.size(); ++i) {
      ASSERT_NO_FATAL_FAILURE(check(a, b, i));
      ++times[received[i].immediate];
      if (rates.delay == 0 && rates.duplication == 0 && i > 0)
        ASSERT_GT(received[i].immediate, received[i - 1].immediate);
    }
    const uint32_t most = rates.duplication > 0 ? 2 : 1;
    for (uint32_t i = 0; i < messages; ++i) ASSERT_LE(times[i], most) << "message " << i;
    const auto lost = size_t(std::count(times.begin(), times.end(), 0U));
    delivered += messages - lost;
    if (rates.loss > 0 || rates.corruption > 0) EXPECT_GT(lost, 0U);
    if (rates.loss + rates.corruption + rates.delay == 0 && (datagrams() || most == 1))
      EXPECT_EQ(lost, 0U);
    if (rates.corruption > 0) EXPECT_GT(b.engine->counters()[Counter::dropped_icrc], 0U);
  }
  // Most messages do arrive.
  EXPECT_GT(delivered, 10 * messages / 3);
}

INSTANTIATE_TEST_SUITE_P(Network, Unreliable, testing::ValuesIn(conditions),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace softhca::transport
