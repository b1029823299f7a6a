// What the transport engine does in each situation that the specification names.
#include "softhca/tests/engines.h"

namespace softhca::transport {
namespace {

TEST_F(Engines, SplitsAMessageByThePathMtu) {
  join();
  post(IBV_WR_RDMA_WRITE, 2 * mtu + 1);
  const auto sent = take(a);
  ASSERT_EQ(sent.size(), 3U);
  const uint8_t expected[] = {wire::op_write_first, wire::op_write_middle, wire::op_write_last};
  for (size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(parsed(sent[i]).bth.opcode, expected[i]);
    EXPECT_EQ(parsed(sent[i]).bth.psn, i);
    EXPECT_EQ(parsed(sent[i]).bth.ack_request, i == 2);
    give(b, sent[i]);
  }
  exchange();
  EXPECT_EQ(statuses(), std::vector{IBV_WC_SUCCESS});
  EXPECT_TRUE(same(2 * mtu + 1));
}

TEST_F(Engines, CoalesceAcknowledgements) {
  join();
  for (int i = 0; i < 5; ++i) post(IBV_WR_RDMA_WRITE, 8);
  for (const auto& packet : take(a)) give(b, packet);
  const auto answers = take(b);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(parsed(answers[0]).bth.psn, 4U);
  EXPECT_EQ(parsed(answers[0]).aeth.msn, 5U);
  give(a, answers[0]);
  EXPECT_EQ(statuses(), std::vector(5, IBV_WC_SUCCESS));
}

TEST_F(Engines, KeepNoMoreInFlightThanTheWindowAndAskForAnAcknowledgementAtItsEnd) {
  connection.sending.window_packets = 8;
  join();
  post(IBV_WR_RDMA_WRITE, 20 * mtu);
  const auto sent = take(a);
  ASSERT_EQ(sent.size(), 8U);
  EXPECT_TRUE(parsed(sent[7]).bth.ack_request);
  for (const auto& packet : sent) give(b, packet);
  exchange();
  EXPECT_EQ(statuses(), std::vector{IBV_WC_SUCCESS});
}

TEST_F(Engines, AnswerAGapWithOneNak) {
  join();
  for (int i = 0; i < 4; ++i) post(IBV_WR_RDMA_WRITE, 8);
  const auto sent = take(a);
  for (const size_t i : {2, 3}) give(b, sent[i]);
  const auto answers = take(b);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(parsed(answers[0]).aeth.syndrome, 0x60);
  EXPECT_EQ(parsed(answers[0]).bth.psn, 0U);
  EXPECT_EQ(count(b, Counter::dropped_out_of_sequence), 2U);
  give(a, answers[0]);
  exchange();
  EXPECT_EQ(statuses(), std::vector(4, IBV_WC_SUCCESS));
  EXPECT_EQ(count(a, Counter::packets_sent_again), 4U);
}

TEST_F(Engines, SendAgainWhenNoAnswerComesAndGiveUpInTheEnd) {
  connection.sending.retry_cnt = 3;
  join();
  post(IBV_WR_RDMA_WRITE, 8);
  post(IBV_WR_RDMA_WRITE, 8);
  uint64_t now = 0;
  for (int turn = 0; turn < 4; ++turn) {
    EXPECT_EQ(take(a, now).size(), turn == 0 ? 2U : 1U) << turn;
    EXPECT_TRUE(take(a, now).empty());
    ASSERT_NE(a.engine->next_deadline_ns(), never);
    now = a.engine->next_deadline_ns();
    EXPECT_TRUE(statuses().empty());
  }
  EXPECT_EQ(now, 4 * (4096ULL << 8));
  EXPECT_TRUE(take(a, now).empty());
  EXPECT_EQ(statuses(), (std::vector{IBV_WC_RETRY_EXC_ERR, IBV_WC_WR_FLUSH_ERR}));
  EXPECT_TRUE(a.device.of(number).in_error);
  EXPECT_EQ(count(a, Counter::timeouts), 4U);
}

TEST_F(Engines, AskWithOnePacketAfterATimeoutAndGrowWithTheAnswers) {
  connection.sending.window_packets = 8;
  join();
  post(IBV_WR_RDMA_WRITE, 30 * mtu);
  EXPECT_EQ(take(a).size(), 8U);  // lost
  const uint64_t now = a.engine->next_deadline_ns();
  for (const size_t in_flight : {1, 2, 4, 8, 8}) {
    const auto sent = take(a, now);
    ASSERT_EQ(sent.size(), in_flight);
    EXPECT_TRUE(parsed(sent.back()).bth.ack_request);
    for (const auto& packet : sent) give(b, packet, now);
    for (const auto& packet : take(b, now)) give(a, packet, now);
  }
  exchange(now);
  EXPECT_EQ(statuses(), std::vector{IBV_WC_SUCCESS});
}

TEST_F(Engines, NotSendAgainWhatAnOverloadedPeerHasYetToRead) {
  connection.sending.window_packets = 8;
  join();
  post(IBV_WR_RDMA_WRITE, 8 * mtu);
  const auto sent = take(a);
  const uint64_t now = a.engine->next_deadline_ns();
  for (const auto& packet : sent) give(b, packet, now);
  for (const auto& packet : take(a, now)) give(b, packet, now);
  exchange(now);
  EXPECT_EQ(statuses(), std::vector{IBV_WC_SUCCESS});
  EXPECT_EQ(count(a, Counter::packets_sent_again), 1U);
}

TEST_F(Engines, WaitForAReceiveAsLongAsTheNakSays) {
  connection.sending.rnr_retry = 2;
  join();
  post(IBV_WR_SEND, 100);
  uint64_t now = 0;
  for (int turn = 0; turn < 2; ++turn) {
    for (const auto& packet : take(a, now)) give(b, packet, now);
    for (const auto& packet : take(b, now)) give(a, packet, now);
    EXPECT_TRUE(take(a, now + 19'999).empty());
    EXPECT_EQ(a.engine->next_deadline_ns(), now + 20'000);
    now += 20'000;
  }
  EXPECT_TRUE(statuses().empty());
  exchange(now);
  EXPECT_EQ(statuses(), std::vector{IBV_WC_RNR_RETRY_EXC_ERR});
  EXPECT_EQ(count(b, Counter::rnr_naks_sent), 3U);
}

TEST_F(Engines, SayNothingOfWhatFollowsARequestThatHasToWait) {
  join();
  for (int i = 0; i < 3; ++i) post(IBV_WR_SEND, 100);
  for (const auto& packet : take(a)) give(b, packet);
  EXPECT_EQ(take(b).size(), 1U);
  EXPECT_EQ(count(b, Counter::sequence_naks_sent), 0U);
}

TEST_F(Engines, WriteWithImmediateWaitsForAReceiveAtItsLastPacket) {
  join();
  post(IBV_WR_RDMA_WRITE_WITH_IMM, 2 * mtu);
  exchange();
  EXPECT_TRUE(statuses().empty());
  post_receive();
  exchange(20'000);
  EXPECT_EQ(statuses(), std::vector{IBV_WC_SUCCESS});
  const auto& received = b.device.of(number).received;
  ASSERT_EQ(received.size(), 1U);
  EXPECT_EQ(received[0].bytes, 2 * mtu);
  EXPECT_EQ(count(a, Counter::packets_sent_again), 1U);
}

TEST_F(Engines, CarryOutADuplicateOfAnAtomicOnceAndAnswerItAlike) {
  join();
  b.device.store_word(remote, 40);
  post(IBV_WR_ATOMIC_FETCH_AND_ADD, 8, local, [](SendWqe& wqe) { wqe.compare_add = 2; });
  const auto request = take(a)[0];
  give(b, request);
  const auto first = take(b);
  give(b, request);
  const auto second = take(b);
  ASSERT_EQ(first.size(), 1U);
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(first[0].bytes, second[0].bytes);
  EXPECT_EQ(b.device.load_word(remote), 42U);
  give(a, second[0]);
  EXPECT_EQ(a.device.load_word(local), 40U);
  give(a, first[0]);
  EXPECT_EQ(count(a, Counter::dropped_response), 1U);
}

TEST_F(Engines, CarryOutAnAtomicWriteOnceAndAnswerItLikeAnEmptyRead) {
  join();
  post(IBV_WR_ATOMIC_WRITE, 8);
  const auto request = take(a)[0];
  EXPECT_EQ(parsed(request).bth.opcode, 0x1d);
  EXPECT_EQ(parsed(request).reth.bytes, 8U);
  EXPECT_EQ(parsed(request).payload.size(), 8U);
  give(b, request);
  EXPECT_TRUE(same(8));
  const auto first = take(b);
  b.device.store_word(remote, 7);
  give(b, request);
  EXPECT_EQ(b.device.load_word(remote), 7U);
  const auto second = take(b);
  ASSERT_EQ(first.size(), 1U);
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(parsed(first[0]).bth.opcode, wire::op_read_response_only);
  EXPECT_TRUE(parsed(first[0]).payload.empty());
  EXPECT_EQ(first[0].bytes, second[0].bytes);
  give(a, second[0]);
  EXPECT_EQ(statuses(), std::vector{IBV_WC_SUCCESS});
}

TEST_F(Engines, RefuseAnAtomicWriteOfAnotherLengthOrAlignment) {
  join();
  post(IBV_WR_ATOMIC_WRITE, 8, local, [](SendWqe& wqe) { wqe.remote_address += 4; });
  exchange();
  EXPECT_EQ(statuses(), std::vector{IBV_WC_REM_INV_REQ_ERR});
  a.attach();
  a.device.of(number) = {};
  b.attach();
  b.device.of(number) = {};
  join();
  post(IBV_WR_ATOMIC_WRITE, 16);
  EXPECT_TRUE(take(a).empty());
  EXPECT_EQ(statuses(), std::vector{IBV_WC_LOC_LEN_ERR});
}

TEST_F(Engines, DropADuplicateOfAnAtomicWhoseResultIsForgotten) {
  connection.receiving.max_dest_rd_atomic = 2;
  join();
  std::vector<test::Pipe::Packet> requests;
  for (int i = 0; i < 3; ++i) {
    post(IBV_WR_ATOMIC_FETCH_AND_ADD, 8);
    requests.push_back(take(a)[0]);
    give(b, requests.back());
    for (const auto& packet : take(b)) give(a, packet);
  }
  give(b, requests[0]);
  EXPECT_TRUE(take(b).empty());
  EXPECT_EQ(count(b, Counter::dropped_replay), 1U);
}

TEST_F(Engines, AskForTheRestOfAReadWhenAResponseIsMissing) {
  join();
  constexpr uint64_t bytes = 6 * mtu - 5;
  post(IBV_WR_RDMA_READ, bytes);
  give(b, take(a)[0]);
  auto answers = take(b);
  ASSERT_EQ(answers.size(), 6U);
  for (const size_t i : {0, 1, 3, 4, 5}) give(a, answers[i]);
  const auto again = take(a);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(parsed(again[0]).bth.psn, 2U);
  EXPECT_EQ(parsed(again[0]).reth.bytes, bytes - 2 * mtu);
  EXPECT_EQ(parsed(again[0]).reth.address, remote + 2 * mtu);
  give(b, again[0]);
  exchange();
  EXPECT_EQ(statuses(), std::vector{IBV_WC_SUCCESS});
  EXPECT_TRUE(same(bytes));
}

TEST_F(Engines, HaveSeveralReadsInFlightButNotMoreThanAgreed) {
  join();
  for (int i = 0; i < 6; ++i) post(IBV_WR_RDMA_READ, 2 * mtu);
  const auto sent = take(a);
  ASSERT_EQ(sent.size(), 4U);
  for (size_t i = 0; i < sent.size(); ++i) EXPECT_EQ(parsed(sent[i]).bth.psn, 2 * i);
  for (const auto& packet : sent) give(b, packet);
  exchange();
  EXPECT_EQ(statuses(), std::vector(6, IBV_WC_SUCCESS));
}

TEST_F(Engines, RefuseMoreReadsThanAgreed) {
  connection.receiving.max_dest_rd_atomic = 1;
  connection.sending.max_rd_atomic = 2;
  join();
  post(IBV_WR_RDMA_READ, 8);
  post(IBV_WR_RDMA_READ, 8);
  exchange();
  EXPECT_EQ(statuses(), (std::vector{IBV_WC_SUCCESS, IBV_WC_REM_INV_REQ_ERR}));
  EXPECT_EQ(b.device.of(number).events, std::vector{IBV_EVENT_QP_REQ_ERR});
}

// What was asked for twice, as the first answer was slow, is answered twice; that is no reason to
// refuse what the requester asks for once it has the first.
TEST_F(Engines, TakeANewReadWhileDuplicatesAreStillBeingAnswered) {
  connection.receiving.max_dest_rd_atomic = connection.sending.max_rd_atomic = 2;
  join();
  for (int i = 0; i < 3; ++i) post(IBV_WR_RDMA_READ, 8);
  const auto requests = take(a);
  ASSERT_EQ(requests.size(), 2U);
  for (const auto& packet : requests) give(b, packet);
  const auto answers = take(b);
  for (const auto& packet : requests) give(b, packet);
  for (const auto& packet : answers) give(a, packet);
  for (const auto& packet : take(a)) give(b, packet);
  exchange();
  EXPECT_EQ(statuses(), std::vector(3, IBV_WC_SUCCESS));
  EXPECT_EQ(count(b, Counter::error_naks_sent), 0U);
}

TEST_F(Engines, AnswerDuplicatesNoMoreOftenThanThereIsRoomFor) {
  connection.receiving.max_dest_rd_atomic = connection.sending.max_rd_atomic = 1;
  join();
  std::vector<test::Pipe::Packet> requests;
  for (int i = 0; i < 40; ++i) {
    post(IBV_WR_RDMA_READ, 8);
    requests.push_back(take(a)[0]);
    give(b, requests.back());
    for (const auto& packet : take(b)) give(a, packet);
  }
  for (const auto& packet : requests) give(b, packet);
  post(IBV_WR_RDMA_READ, 8);
  for (const auto& packet : take(a)) give(b, packet);
  EXPECT_GT(count(b, Counter::dropped_replay), 0U);
  const auto answers = take(b);
  EXPECT_LT(answers.size(), requests.size());
  EXPECT_EQ(parsed(answers.back()).bth.psn, 40U);
  for (const auto& packet : answers) give(a, packet);
  EXPECT_EQ(statuses(), std::vector(41, IBV_WC_SUCCESS));
}

// Or what is sent again at once would be sent once more when the time of the first try is over.
TEST_F(Engines, GiveWhatIsSentAgainAfterANakItsWholeTime) {
  join();
  for (int i = 0; i < 2; ++i) post(IBV_WR_RDMA_WRITE, 8);
  const auto sent = take(a);
  give(b, sent[1]);
  const uint64_t timeout = 4096ULL << 8, late = timeout - 1;
  for (const auto& packet : take(b)) give(a, packet, late);
  EXPECT_EQ(take(a, late).size(), 2U);
  EXPECT_TRUE(take(a, timeout).empty());
  EXPECT_EQ(take(a, late + timeout).size(), 1U) << "after a timeout one packet asks";
  EXPECT_EQ(count(a, Counter::timeouts), 1U);
}

TEST_F(Engines, LetAFencedRequestWaitForReads) {
  join();
  post(IBV_WR_RDMA_READ, 8);
  post(IBV_WR_RDMA_WRITE, 8, local, [](SendWqe& wqe) { wqe.fence = true; });
  const auto sent = take(a);
  ASSERT_EQ(sent.size(), 1U);
  give(b, sent[0]);
  exchange();
  EXPECT_EQ(statuses(), std::vector(2, IBV_WC_SUCCESS));
}

TEST_F(Engines, NotLookAtTheKeyOfAnEmptyTransfer) {
  join();
  for (const auto opcode : {IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ})
    post(opcode, 0, local, [](SendWqe& wqe) { wqe.rkey = 0xbad; });
  exchange();
  EXPECT_EQ(statuses(), std::vector(2, IBV_WC_SUCCESS));
}

TEST_F(Engines, InvalidateInTheOrderOfTheQueue) {
  join();
  a.device.add_region(0x55, base, 8, test::all_access);
  post(IBV_WR_RDMA_WRITE, 8);
  post(IBV_WR_LOCAL_INV, 0, local, [](SendWqe& wqe) { wqe.immediate = 0x55; });
  const auto sent = take(a);
  EXPECT_TRUE(a.device.region(0x55).valid);
  for (const auto& packet : sent) give(b, packet);
  exchange();
  EXPECT_FALSE(a.device.region(0x55).valid);
  EXPECT_EQ(statuses(), std::vector(2, IBV_WC_SUCCESS));
}

TEST_F(Engines, PauseAfterWhatWasBegunAndSaySo) {
  join();
  post(IBV_WR_RDMA_WRITE, 8);
  const auto sent = take(a);
  a.engine->pause(number, true, true);
  post(IBV_WR_RDMA_WRITE, 8);
  EXPECT_TRUE(take(a).empty());
  EXPECT_TRUE(a.device.of(number).events.empty());
  give(b, sent[0]);
  exchange();
  EXPECT_EQ(a.device.of(number).events, std::vector{IBV_EVENT_SQ_DRAINED});
  EXPECT_EQ(statuses().size(), 1U);
  a.engine->pause(number, false, false);
  exchange();
  EXPECT_EQ(statuses().size(), 2U);
}

TEST_F(Engines, AreGoneWhenDestroyed) {
  join();
  post(IBV_WR_RDMA_WRITE, 8);
  const auto sent = take(a);
  b.engine->destroy(number);
  give(b, sent[0]);
  EXPECT_EQ(count(b, Counter::dropped_queue_pair), 1U);
  EXPECT_TRUE(take(b).empty());
  EXPECT_FALSE(b.engine->to_rts(number, {}));
}

TEST_F(Engines, FlushWhatIsPostedWhenToldTo) {
  join();
  post(IBV_WR_RDMA_WRITE, 8);
  post(IBV_WR_RDMA_WRITE, 8);
  take(a);
  a.engine->to_error(number);
  post(IBV_WR_RDMA_WRITE, 8);
  EXPECT_TRUE(take(a).empty());
  EXPECT_EQ(statuses(), std::vector(3, IBV_WC_WR_FLUSH_ERR));
  EXPECT_TRUE(take(a, a.engine->next_deadline_ns()).empty());
  EXPECT_EQ(a.engine->next_deadline_ns(), never);
}

}  // namespace
}  // namespace softhca::transport
