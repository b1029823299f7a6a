// What the transport engine refuses, and what it drops and counts.
#include "softhca/tests/engines.h"

namespace softhca::transport {
namespace {

TEST_F(Engines, RefuseAccessWithoutARight) {
  for (const auto opcode :
       {IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ, IBV_WR_ATOMIC_FETCH_AND_ADD, IBV_WR_SEND_WITH_INV}) {
    a.attach();
    b.attach();
    a.device.of(number) = b.device.of(number) = {};
    join();
    post_receive();
    post(opcode, 8, local, [](SendWqe& wqe) { wqe.rkey = wqe.immediate = 0xbad; });
    post(IBV_WR_RDMA_WRITE, 8);
    exchange();
    EXPECT_EQ(statuses(), (std::vector{IBV_WC_REM_ACCESS_ERR, IBV_WC_WR_FLUSH_ERR})) << opcode;
    EXPECT_EQ(b.device.of(number).events, std::vector{IBV_EVENT_QP_ACCESS_ERR});
    EXPECT_TRUE(a.device.of(number).in_error && b.device.of(number).in_error);
  }
}

TEST_F(Engines, RefuseWhatTheQueuePairDoesNotAllow) {
  connection.receiving.access = IBV_ACCESS_REMOTE_READ;
  join();
  post(IBV_WR_RDMA_READ, 8);
  post(IBV_WR_RDMA_WRITE, 8);
  exchange();
  EXPECT_EQ(statuses(), (std::vector{IBV_WC_SUCCESS, IBV_WC_REM_INV_REQ_ERR}));
}

TEST_F(Engines, RefuseASendLongerThanTheReceive) {
  join();
  post_receive(2 * mtu);
  post(IBV_WR_SEND, 2 * mtu + 1);
  exchange();
  EXPECT_EQ(statuses(), std::vector{IBV_WC_REM_INV_REQ_ERR});
  ASSERT_EQ(b.device.of(number).received.size(), 1U);
  EXPECT_EQ(b.device.of(number).received[0].status, IBV_WC_LOC_LEN_ERR);
}

TEST_F(Engines, FailARequestWhoseOwnMemoryIsGoneAfterThoseBeforeIt) {
  join();
  post(IBV_WR_RDMA_WRITE, 8);
  post(IBV_WR_RDMA_WRITE, 8, 0);
  post(IBV_WR_RDMA_WRITE, 8);
  exchange();
  EXPECT_EQ(statuses(), (std::vector{IBV_WC_SUCCESS, IBV_WC_LOC_PROT_ERR, IBV_WC_WR_FLUSH_ERR}));
  EXPECT_TRUE(a.device.of(number).in_error);
}

TEST_F(Engines, FailAReadWhoseMemoryGoesAwayMeanwhile) {
  join();
  post(IBV_WR_RDMA_READ, 8 * mtu);
  give(b, take(a)[0]);
  b.engine->transmit(0, 3);
  b.device.region(key).valid = false;
  exchange();
  EXPECT_EQ(statuses(), std::vector{IBV_WC_REM_ACCESS_ERR});
}

// 9.7.4: each is answered with "invalid request", and nothing is written.
TEST_F(Engines, RefusePacketsThatDontFitTheirMessage) {
  const std::function<void(wire::Packet&)> changes[] = {
      [](wire::Packet& packet) { packet.bth.opcode = wire::op_write_middle; },
      [](wire::Packet& packet) { packet.bth.opcode = wire::op_write_last; },
      [](wire::Packet& packet) { packet.bth.opcode = wire::op_send_last; },
      [](wire::Packet& packet) { packet.bth.opcode = wire::op_write_first; },
      [](wire::Packet& packet) { packet.payload = packet.payload.first(99); },
      [](wire::Packet& packet) { packet.reth.bytes = 101; },
      [](wire::Packet& packet) { packet.reth.bytes = 0xffffffff; },
      [](wire::Packet& packet) {
        packet.bth.opcode = wire::op_fetch_add;
        packet.atomic_eth = {remote + 4, key, 1, 0};
        packet.payload = {};
      },
  };
  for (size_t i = 0; i < std::size(changes); ++i) {
    a.attach();
    b.attach();
    a.device.of(number) = b.device.of(number) = {};
    join();
    post_receive();
    post(IBV_WR_RDMA_WRITE, 100);
    const std::vector<uint8_t> before(b.device.memory(remote, 200).begin(),
                                      b.device.memory(remote, 200).end());
    give(b, changed(take(a)[0], changes[i]));
    const auto answers = take(b);
    ASSERT_EQ(answers.size(), 1U) << i;
    EXPECT_EQ(parsed(answers[0]).aeth.syndrome, 0x61) << i;
    EXPECT_TRUE(std::equal(before.begin(), before.end(), b.device.memory(remote, 200).begin()));
    give(a, answers[0]);
    EXPECT_EQ(statuses(), std::vector{IBV_WC_REM_INV_REQ_ERR}) << i;
  }
}

TEST_F(Engines, DropAStrangersPacketsAndCountThem) {
  join();
  post(IBV_WR_RDMA_WRITE, 100);
  const auto packet = take(a)[0];
  struct Case {
    Counter counter;
    std::function<test::Pipe::Packet(test::Pipe::Packet)> make;
  };
  const auto with = [&](const std::function<void(wire::Packet&)>& change) {
    return [change](const test::Pipe::Packet& packet) { return changed(packet, change); };
  };
  const Case cases[] = {
      {Counter::dropped_queue_pair, with([](auto& packet) { packet.bth.dest_qp = 0x12; })},
      {Counter::dropped_pkey, with([](auto& packet) { packet.bth.pkey = 0x8001; })},
      {Counter::dropped_opcode, with([](auto& packet) {
         packet.bth.opcode = wire::make_opcode(wire::Service::uc, wire::op_write_only);
       })},
      {Counter::dropped_out_of_sequence, with([](auto& packet) { packet.bth.psn = 7; })},
      {Counter::dropped_response, with([](auto& packet) {
         packet.bth.opcode = wire::op_acknowledge;
         packet.payload = {};
       })},
      {Counter::dropped_address,
       [&](test::Pipe::Packet packet) {
         packet.route.source[15] = 9;
         return changed(packet, [](auto&) {});
       }},
      {Counter::dropped_address,
       [&](test::Pipe::Packet packet) {
         packet.route.destination[15] = 9;
         return changed(packet, [](auto&) {});
       }},
      {Counter::dropped_icrc,
       [](test::Pipe::Packet packet) {
         packet.bytes.back() ^= 1;
         return packet;
       }},
      {Counter::dropped_version,
       [](test::Pipe::Packet packet) {
         packet.bytes[1] |= 1;
         return packet;
       }},
      {Counter::dropped_short,
       [](test::Pipe::Packet packet) {
         packet.bytes.resize(20);
         return packet;
       }},
  };
  const std::vector<uint8_t> before(b.device.memory(remote, 100).begin(),
                                    b.device.memory(remote, 100).end());
  for (const auto& [counter, make] : cases) {
    const uint64_t so_far = count(b, counter);
    give(b, make(packet));
    EXPECT_EQ(count(b, counter), so_far + 1) << counter_names[size_t(counter)];
    EXPECT_TRUE(std::equal(before.begin(), before.end(), b.device.memory(remote, 100).begin()));
  }
  EXPECT_EQ(b.engine->find(number)->state, QueuePair::ready_to_send);
  give(b, packet);
  EXPECT_TRUE(same(100));
}

TEST_F(Engines, CountCongestionNotifications) {
  join();
  test::Pipe::Packet packet;
  packet.route = a.engine->find(number)->responder.attributes.route;
  packet.bytes.resize(wire::Bth::length + wire::cnp_reserved + wire::icrc_length);
  wire::Packet parts;
  parts.bth.opcode = wire::cnp_opcode;
  parts.bth.pkey = 0xffff;
  parts.bth.becn = true;
  parts.bth.dest_qp = number;
  wire::emit_headers(parts, packet.bytes.data());
  give(b, changed(packet, [](auto&) {}));
  EXPECT_EQ(count(b, Counter::congestion_notifications), 1U);
}

TEST_F(Engines, IgnoreAnAnswerToWhatWasNeverAsked) {
  join();
  post(IBV_WR_RDMA_WRITE, 8);
  give(b, take(a)[0]);
  const auto answer = take(b)[0];
  give(a, changed(answer, [](auto& packet) { packet.bth.psn = 5; }));
  give(a, changed(answer, [](auto& packet) { packet.bth.psn = wire::psn_mask; }));
  EXPECT_TRUE(statuses().empty());
  EXPECT_EQ(count(a, Counter::dropped_response), 2U);
  give(a, answer);
  EXPECT_EQ(statuses(), std::vector{IBV_WC_SUCCESS});
}

}  // namespace
}  // namespace softhca::transport
