// What is particular to the services beside RC: UC, UD with its groups, XRC.
#include "softhca/tests/engines.h"

namespace softhca::transport {
namespace {

TEST_F(Engines, UnreliableConnectionsDropAMessageWithAGapAndTakeTheNext) {
  connection.type = IBV_QPT_UC;
  join();
  for (int i = 0; i < 3; ++i) {
    post(IBV_WR_SEND_WITH_IMM, 3 * mtu, local + uint64_t(i) * 8,
         [&](SendWqe& wqe) { wqe.immediate = uint32_t(i); });
    post_receive();
  }
  const auto sent = take(a);
  ASSERT_EQ(sent.size(), 9U);
  EXPECT_EQ(statuses(), std::vector(3, IBV_WC_SUCCESS));
  for (size_t i = 0; i < sent.size(); ++i) {
    if (i != 4) give(b, sent[i]);
  }
  EXPECT_TRUE(take(b).empty());
  const auto& received = b.device.of(number).received;
  ASSERT_EQ(received.size(), 2U);
  EXPECT_EQ(received[0].immediate, 0U);
  EXPECT_EQ(received[1].immediate, 2U);
  EXPECT_EQ(b.device.of(number).receives.size(), 1U);
}

TEST_F(Engines, UnreliableConnectionsStopSendingAtALocalError) {
  connection.type = IBV_QPT_UC;
  join();
  post(IBV_WR_SEND, 8, 0);
  post(IBV_WR_SEND, 8);
  EXPECT_TRUE(take(a).empty());
  EXPECT_EQ(statuses(), (std::vector{IBV_WC_LOC_PROT_ERR, IBV_WC_WR_FLUSH_ERR}));
  EXPECT_EQ(a.engine->find(number)->state, QueuePair::send_error);
  EXPECT_FALSE(a.device.of(number).in_error);
}

TEST_F(Engines, DatagramsNeedTheRightQueueKeyAndAReceiveThatIsLargeEnough) {
  connection.type = IBV_QPT_UD;
  connection.receiving.qkey = 0x1111;
  join();
  const auto send = [&](uint32_t qkey) {
    post(IBV_WR_SEND, 100, local, [&](SendWqe& wqe) {
      wqe.route = a.engine->find(number)->responder.attributes.route;
      wqe.remote_qp = number;
      wqe.remote_qkey = qkey;
    });
    exchange();
  };
  send(0x1111);
  EXPECT_EQ(count(b, Counter::dropped_no_receive), 1U);
  post_receive(139);
  send(0x1112);
  EXPECT_EQ(count(b, Counter::dropped_qkey), 1U);
  send(0x1111);
  EXPECT_EQ(count(b, Counter::dropped_refused), 1U);
  EXPECT_TRUE(b.device.of(number).received.empty());
  EXPECT_EQ(statuses(), std::vector(3, IBV_WC_SUCCESS));
}

TEST_F(Engines, GiveADatagramToAGroupToEachMemberOfIt) {
  connection.type = IBV_QPT_UD;
  connection.receiving.qkey = 0x1111;
  join();
  QueuePairOptions options;
  options.type = IBV_QPT_UD;
  auto receiving = b.engine->find(number)->responder.attributes;
  for (const uint32_t other : {0x12, 0x13, 0x14}) {
    ASSERT_TRUE(b.engine->create(other, options));
    receiving.qkey = other == 0x14 ? 0x2222 : 0x1111;
    ASSERT_TRUE(b.engine->to_rtr(other, receiving));
  }
  for (const bool ipv6 : {false, true}) {
    const wire::Gid group = ipv6 ? wire::Gid{0xff, 0x0e, 0, 7} : wire::ipv4_gid({239, 1, 2, 3});
    for (const uint32_t member : {0x11, 0x12, 0x14}) {
      EXPECT_TRUE(b.engine->join(member, group));
      EXPECT_TRUE(b.engine->join(member, group));  // still once
    }
    const auto send = [&] {
      for (const uint32_t qp : {0x11, 0x12, 0x13, 0x14}) {
        b.device.of(qp).received.clear();
        b.device.of(qp).receives.assign(1, {remote + qp * 1024, 1024});
      }
      post(IBV_WR_SEND, 100, local, [&](SendWqe& wqe) {
        wqe.route = a.engine->find(number)->responder.attributes.route;
        wqe.route.destination = group;
        wqe.remote_qp = wire::multicast_qp;
        wqe.remote_qkey = 0x1111;
      });
      exchange();
    };
    const uint64_t refused = count(b, Counter::dropped_qkey),
                   unknown = count(b, Counter::dropped_queue_pair);
    send();
    for (const uint32_t member : {0x11, 0x12}) {
      ASSERT_EQ(b.device.of(member).received.size(), 1U);
      EXPECT_EQ(b.device.of(member).received[0].source_qp, number);
      const auto got = b.device.memory(remote + member * 1024, 140);
      const auto sent = a.device.memory(local, 100);
      EXPECT_TRUE(std::equal(sent.begin(), sent.end(), got.begin() + 40));
    }
    for (const uint32_t other : {0x13, 0x14}) EXPECT_TRUE(b.device.of(other).received.empty());
    EXPECT_EQ(count(b, Counter::dropped_qkey), refused + 1);
    b.engine->leave(0x11, group);
    b.engine->leave(0x14, group);
    send();
    EXPECT_TRUE(b.device.of(0x11).received.empty());
    EXPECT_EQ(b.device.of(0x12).received.size(), 1U);
    b.engine->leave(0x12, group);
    send();
    EXPECT_EQ(count(b, Counter::dropped_queue_pair), unknown + 1);
  }
}

TEST_F(Engines, LetOnlyDatagramsJoinAGroup) {
  join();
  const wire::Gid group = wire::ipv4_gid({239, 1, 2, 3});
  EXPECT_FALSE(a.engine->join(number, group));
  EXPECT_FALSE(a.engine->join(0x99, group));
  a.engine->destroy(number);
  QueuePairOptions options;
  options.type = IBV_QPT_UD;
  ASSERT_TRUE(a.engine->create(number, options));
  EXPECT_TRUE(a.engine->join(number, group));
  EXPECT_FALSE(a.engine->join(number, wire::ipv4_gid({10, 0, 0, 1})));
}

TEST_F(Engines, RefuseALongDatagramBeforeItIsSent) {
  connection.type = IBV_QPT_UD;
  join();
  post(IBV_WR_SEND, mtu + 1);
  EXPECT_TRUE(take(a).empty());
  EXPECT_EQ(statuses(), std::vector{IBV_WC_LOC_LEN_ERR});
}

TEST_F(Engines, XrcNamesTheSharedReceiveQueueInEachRequest) {
  connection.type = IBV_QPT_XRC_RECV;
  join();
  post_receive();
  post(IBV_WR_SEND, 2 * mtu, local, [](SendWqe& wqe) { wqe.srq = 0x123; });
  const auto sent = take(a);
  ASSERT_EQ(sent.size(), 2U);
  for (const auto& packet : sent) {
    EXPECT_EQ(parsed(packet).opcode().service, wire::Service::xrc);
    EXPECT_EQ(parsed(packet).xrceth.srq, 0x123U);
    give(b, packet);
  }
  exchange();
  EXPECT_EQ(statuses(), std::vector{IBV_WC_SUCCESS});
  post(IBV_WR_SEND, 8, local, [](SendWqe& wqe) { wqe.srq = 0xffffff; });
  exchange();
  EXPECT_EQ(statuses(), (std::vector{IBV_WC_SUCCESS, IBV_WC_REM_INV_REQ_ERR}));
}

TEST_F(Engines, DoNotCountAnswersToDuplicatesAgainstWhatWasAgreed) {
  connection.receiving.max_dest_rd_atomic = 1;
  connection.sending.max_rd_atomic = 1;
  join();
  const auto compare = [](SendWqe& wqe) { wqe.compare_add = 1; };
  post(IBV_WR_ATOMIC_FETCH_AND_ADD, 8, local, compare);
  post(IBV_WR_ATOMIC_FETCH_AND_ADD, 8, local, compare);
  const auto first = take(a);
  ASSERT_EQ(first.size(), 1U);
  give(b, first[0]);
  for (const auto& answer : take(b)) give(a, answer);
  const auto second = take(a);
  ASSERT_EQ(second.size(), 1U);
  // A late copy of the first request; its answer waits when the second request comes.
  give(b, first[0]);
  give(b, second[0]);
  exchange();
  EXPECT_EQ(statuses(), std::vector(2, IBV_WC_SUCCESS));
}

}  // namespace
}  // namespace softhca::transport
