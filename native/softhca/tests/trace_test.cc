// The engine in the place of either end of what two kernels' Soft-RoCE said to each other
// (test/data/rxe-pcaps): it says the same, byte for byte but for the ICRC, which depends on the
// identification that a kernel chose.
#include <gtest/gtest.h>

#include "softhca/tests/capture.h"
#include "softhca/tests/transport_model.h"
#include "softhca/wire/icrc.h"

namespace softhca::transport {
namespace {

using test::all_access;
using test::CapturedPacket;

constexpr uint64_t memory_bytes = 1 << 16;
constexpr uint64_t initial_word = 0x1122334455667788;

const uint8_t a_address[] = {0x0a, 0x4d, 0x00, 0x01};

bool from_a(const CapturedPacket& captured) {
  return captured.route.source[15] == a_address[3] || captured.route.source[15] == 0x0a;
}

wire::Packet parsed(const CapturedPacket& captured) {
  wire::Packet packet;
  EXPECT_EQ(wire::parse(captured.bytes, &packet), wire::Parsed::ok);
  return packet;
}

std::vector<uint8_t> without_icrc(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), bytes.end() - wire::icrc_length};
}

Datagram datagram_of(const CapturedPacket& captured) {
  return {captured.route, captured.bytes, captured.identification};
}

// One capture, and what its packets say about how it was made.
struct Trace {
  explicit Trace(const std::string& name)
      : packets(test::read_golden(name)),
        first(parsed(packets[0])),
        mtu(name == "send_multi_mtu256" ? 256 : 1024) {
    for (const auto& captured : packets) {
      const wire::Packet packet = parsed(captured);
      if (!from_a(captured) || !packet.opcode().is_first()) continue;
      if (packet.opcode().kind == wire::Kind::send) message_bytes = 0;
    }
    uint32_t last_psn = first.bth.psn - 1;
    for (const auto& captured : packets) {
      const wire::Packet packet = parsed(captured);
      if (!from_a(captured) || packet.bth.psn == last_psn) continue;  // sent again
      last_psn = packet.bth.psn;
      message_bytes += packet.payload.size();
      last = packet;
    }
  }

  // What A posted.
  SendWqe request() const {
    SendWqe wqe;
    wqe.bytes = message_bytes;
    const bool immediate = last.opcode().extensions & wire::has_imm_dt;
    if (immediate) wqe.immediate = last.imm_dt.data;
    switch (first.opcode().kind) {
      case wire::Kind::send:
        wqe.opcode = immediate ? IBV_WR_SEND_WITH_IMM : IBV_WR_SEND;
        break;
      case wire::Kind::write:
        wqe.opcode = immediate ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE;
        break;
      case wire::Kind::read_request:
        wqe.opcode = IBV_WR_RDMA_READ;
        wqe.bytes = first.reth.bytes;
        break;
      default:
        wqe.opcode = IBV_WR_ATOMIC_CMP_AND_SWP;
        wqe.bytes = sizeof(uint64_t);
        wqe.compare_add = first.atomic_eth.compare;
        wqe.swap = first.atomic_eth.swap_add;
        wqe.remote_address = first.atomic_eth.address;
        wqe.rkey = first.atomic_eth.rkey;
        return wqe;
    }
    wqe.remote_address = first.reth.address;
    wqe.rkey = first.reth.rkey;
    return wqe;
  }
  // Of B's memory.
  uint64_t address() const {
    if (first.opcode().is_atomic()) return first.atomic_eth.address;
    return first.opcode().extensions & wire::has_reth ? first.reth.address : 0x10000;
  }

  std::vector<CapturedPacket> packets;
  wire::Packet first, last;
  uint32_t mtu;
  uint64_t message_bytes = 0;
};

ReceiveAttributes attributes_of(const Trace& trace, bool is_a) {
  ReceiveAttributes attributes;
  attributes.access = all_access;
  attributes.mtu_bytes = trace.mtu;
  attributes.rq_psn = is_a ? 0xfffffe : trace.first.bth.psn;
  attributes.dest_qp = trace.first.bth.dest_qp;
  attributes.route = trace.packets[0].route;
  if (!is_a) std::swap(attributes.route.source, attributes.route.destination);
  attributes.max_dest_rd_atomic = 1;
  attributes.min_rnr_timer = 18;
  attributes.qkey = 0x11111111;
  return attributes;
}

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, RequesterSaysWhatRxeSaid) {
  const std::string name = GetParam();
  const Trace trace(name);
  const uint32_t number = trace.first.bth.dest_qp;
  test::End a(memory_bytes);
  a.attach();
  ASSERT_TRUE(a.engine->create(number, {}));
  ASSERT_TRUE(a.engine->to_rtr(number, attributes_of(trace, true)));
  SendAttributes sending;
  sending.sq_psn = trace.first.bth.psn;
  sending.timeout = 0;
  sending.max_rd_atomic = 1;
  ASSERT_TRUE(a.engine->to_rts(number, sending));
  constexpr uint64_t local = 0x10000;
  for (uint64_t i = 0; i < trace.message_bytes; ++i) a.device.memory(local + i, 1)[0] = uint8_t(i);
  a.device.of(number).sends.push_back({trace.request(), local});
  a.engine->wake(number);

  for (const auto& captured : trace.packets) {
    if (!from_a(captured)) {
      a.engine->receive(datagram_of(captured), captured.time_ns);
      continue;
    }
    if (a.pipe.sent().empty()) a.engine->transmit(captured.time_ns, 100);
    ASSERT_FALSE(a.pipe.sent().empty());
    EXPECT_EQ(without_icrc(a.pipe.sent()[0].bytes), without_icrc(captured.bytes));
    a.pipe.sent().erase(a.pipe.sent().begin());
  }
  a.engine->transmit(trace.packets.back().time_ns + 1'000'000'000, 100);
  EXPECT_TRUE(a.pipe.sent().empty());

  ibv_wc_status expected = IBV_WC_SUCCESS;
  if (name == "write_badrkey") expected = IBV_WC_REM_ACCESS_ERR;
  if (name == "recv_too_small") expected = IBV_WC_REM_OP_ERR;
  const auto& sent = a.device.of(number).sent;
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].status, expected);
  if (name == "read_multi") {
    for (uint64_t i = 0; i < 4000; ++i)
      ASSERT_EQ(a.device.memory(local + i, 1)[0], uint8_t(i * 7 + 3));
  }
  if (name == "cmpswap") EXPECT_EQ(a.device.load_word(local), initial_word);
}

TEST_P(Golden, ResponderSaysWhatRxeSaid) {
  const std::string name = GetParam();
  const Trace trace(name);
  const uint32_t number = trace.first.bth.dest_qp;
  test::End b(0);
  b.device = test::ModelDevice(memory_bytes, trace.address());
  b.attach();
  ASSERT_TRUE(b.engine->create(number, {}));
  ASSERT_TRUE(b.engine->to_rtr(number, attributes_of(trace, false)));
  SendAttributes sending;
  sending.sq_psn = 0xfffffe;
  ASSERT_TRUE(b.engine->to_rts(number, sending));
  const SendWqe request = trace.request();
  b.device.add_region(name == "write_badrkey" ? request.rkey ^ 1 : request.rkey, trace.address(),
                      memory_bytes, all_access);
  if (name == "read_multi") {
    for (uint64_t i = 0; i < 4000; ++i)
      b.device.memory(trace.address() + i, 1)[0] = uint8_t(i * 7 + 3);
  } else if (name == "cmpswap") {
    b.device.store_word(trace.address(), initial_word);
  }
  auto& queues = b.device.of(number);
  const bool too_small = name == "recv_too_small";
  const test::ModelDevice::Receive receive{trace.address(), too_small ? 16U : memory_bytes};
  if (name != "rnr") queues.receives.push_back(receive);

  size_t at = 0;
  for (const auto& captured : trace.packets) {
    ++at;
    if (from_a(captured)) {
      if (name == "rnr" && at + 1 == trace.packets.size()) queues.receives.push_back(receive);
      b.engine->receive(datagram_of(captured), captured.time_ns);
      continue;
    }
    if (b.pipe.sent().empty()) b.engine->transmit(captured.time_ns, 100);
    ASSERT_FALSE(b.pipe.sent().empty());
    auto expected = without_icrc(captured.bytes);
    if (too_small) {
      // The specification asks for "invalid request" here (9.7.5.2.3), and hardware says so; rxe
      // says "remote operational error".
      constexpr size_t syndrome_at = wire::Bth::length;
      EXPECT_EQ(expected[syndrome_at], 0x63);
      expected[syndrome_at] = 0x61;
    }
    EXPECT_EQ(without_icrc(b.pipe.sent()[0].bytes), expected);
    b.pipe.sent().erase(b.pipe.sent().begin());
  }
  EXPECT_TRUE(b.pipe.sent().empty());

  if (trace.first.opcode().is_atomic())
    EXPECT_EQ(b.device.load_word(trace.address()), 0x99aabbccddeeff00);
  if (name == "write_badrkey" || too_small || trace.first.opcode().is_atomic() ||
      name == "read_multi")
    return;
  for (uint64_t i = 0; i < trace.message_bytes; ++i)
    ASSERT_EQ(b.device.memory(trace.address() + i, 1)[0], uint8_t(i));
  if (trace.first.opcode().kind == wire::Kind::write && request.immediate == 0) return;
  ASSERT_EQ(queues.received.size(), 1U);
  EXPECT_EQ(queues.received[0].status, IBV_WC_SUCCESS);
  EXPECT_EQ(queues.received[0].bytes, trace.message_bytes);
  EXPECT_EQ(queues.received[0].immediate, request.immediate);
}

INSTANTIATE_TEST_SUITE_P(Traces, Golden,
                         testing::Values("send_zero", "send_small", "send_multi",
                                         "send_multi_mtu256", "send_small_imm", "send_multi_imm",
                                         "write_small", "write_multi", "write_small_imm",
                                         "read_multi", "cmpswap", "rnr", "write_badrkey",
                                         "recv_too_small"),
                         [](const auto& info) { return std::string(info.param); });

class GoldenDatagram : public testing::TestWithParam<const char*> {};

TEST_P(GoldenDatagram, IsSentAsRxeSentIt) {
  const Trace trace(GetParam());
  const uint32_t number = trace.first.deth.source_qp;
  test::End a(memory_bytes);
  a.attach();
  QueuePairOptions options;
  options.type = IBV_QPT_UD;
  ASSERT_TRUE(a.engine->create(number, options));
  ASSERT_TRUE(a.engine->to_rtr(number, attributes_of(trace, true)));
  SendAttributes sending;
  sending.sq_psn = trace.first.bth.psn;
  ASSERT_TRUE(a.engine->to_rts(number, sending));
  constexpr uint64_t local = 0x10000;
  for (uint64_t i = 0; i < trace.message_bytes; ++i) a.device.memory(local + i, 1)[0] = uint8_t(i);
  SendWqe wqe = trace.request();
  wqe.route = trace.packets[0].route;
  wqe.remote_qp = trace.first.bth.dest_qp;
  wqe.remote_qkey = 0x80000000;  // its own
  a.device.of(number).sends.push_back({wqe, local});
  a.engine->wake(number);
  a.engine->transmit(0, 100);
  ASSERT_EQ(a.pipe.sent().size(), 1U);
  EXPECT_EQ(without_icrc(a.pipe.sent()[0].bytes), without_icrc(trace.packets[0].bytes));
  ASSERT_EQ(a.device.of(number).sent.size(), 1U);
  EXPECT_EQ(a.device.of(number).sent[0].status, IBV_WC_SUCCESS);
}

TEST_P(GoldenDatagram, ArrivesWithItsHeadersInPlaceOfTheGrh) {
  const Trace trace(GetParam());
  const uint32_t number = trace.first.bth.dest_qp;
  test::End b(memory_bytes);
  b.attach();
  QueuePairOptions options;
  options.type = IBV_QPT_UD;
  ASSERT_TRUE(b.engine->create(number, options));
  ASSERT_TRUE(b.engine->to_rtr(number, attributes_of(trace, false)));
  constexpr uint64_t local = 0x10000;
  b.device.of(number).receives.push_back({local, 40 + trace.message_bytes});
  b.engine->receive(datagram_of(trace.packets[0]), 0);

  const auto& received = b.device.of(number).received;
  ASSERT_EQ(received.size(), 1U);
  EXPECT_EQ(received[0].bytes, 40 + trace.message_bytes);
  EXPECT_EQ(received[0].source_qp, trace.first.deth.source_qp);
  EXPECT_TRUE(received[0].flags & IBV_WC_GRH);
  EXPECT_EQ(received[0].immediate, trace.request().immediate);
  // rxe's program printed the same 40 bytes.
  const auto& headers = trace.packets[0].headers;
  std::vector<uint8_t> grh(40);
  const size_t ip_length = headers.size() - 8;
  std::copy(headers.begin(), headers.begin() + ptrdiff_t(ip_length),
            grh.end() - ptrdiff_t(ip_length));
  const auto got = b.device.memory(local, 40 + trace.message_bytes);
  EXPECT_TRUE(std::equal(grh.begin(), grh.end(), got.begin()));
  for (uint64_t i = 0; i < trace.message_bytes; ++i) ASSERT_EQ(got[40 + i], uint8_t(i));
}

INSTANTIATE_TEST_SUITE_P(Traces, GoldenDatagram,
                         testing::Values("ud_send", "ud_imm", "ud_send_ipv6"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace softhca::transport
