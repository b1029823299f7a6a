// When the engine keeps an acknowledgement back for the program's answer, and that none is lost.
#include "softhca/tests/engines.h"
#include "softhca/wire/udp.h"

namespace softhca::transport {
namespace {

constexpr uint64_t keep_ns = 1000;

class Acknowledgements : public Engines {
 protected:
  Acknowledgements() {
    b.engine->keep_acknowledgements(keep_ns);
    a.device.add_region(key, base, memory_bytes, test::all_access);
    connection.source_port = wire::roce_port;
  }
  void answer() {
    SendWqe wqe;
    wqe.opcode = IBV_WR_RDMA_WRITE;
    wqe.bytes = 8;
    wqe.remote_address = remote;
    wqe.rkey = key;
    b.device.of(number).sends.push_back({wqe, local});
    b.engine->wake(number);
  }
  // b's program shows that it answers each message.
  void become_familiar() {
    join();
    for (int i = 0; i < enough_answers; ++i) {
      post(IBV_WR_RDMA_WRITE, 8);
      for (const auto& packet : take(a)) give(b, packet);
      EXPECT_EQ(take(b).size(), 1U) << "an acknowledgement without delay";
      answer();
      exchange();
    }
  }
  void receive_one(uint64_t now) {
    post(IBV_WR_RDMA_WRITE, 8);
    for (const auto& packet : take(a, now)) give(b, packet, now);
  }
};

TEST_F(Acknowledgements, LeaveBehindTheAnswer) {
  become_familiar();
  receive_one(50);
  EXPECT_TRUE(take(b, 50).empty());
  EXPECT_TRUE(b.engine->keeps_acknowledgements());
  EXPECT_LE(b.engine->next_deadline_ns(), 50 + keep_ns);
  answer();
  const auto sent = take(b, 60);
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(parsed(sent[0]).bth.opcode, wire::op_write_only);
  EXPECT_EQ(parsed(sent[1]).bth.opcode, wire::op_acknowledge);
  EXPECT_LE(sent[1].bytes.size(), sent[0].bytes.size()) << "fits into the same datagram";
  EXPECT_FALSE(b.engine->keeps_acknowledgements());
}

TEST_F(Acknowledgements, LeaveWithoutAnAnswerAtTheNextTurnAndAtOnceFromThenOn) {
  become_familiar();
  receive_one(50);
  EXPECT_TRUE(take(b, 50).empty());
  EXPECT_EQ(take(b, b.engine->next_deadline_ns()).size(), 1U);
  EXPECT_FALSE(b.engine->keeps_acknowledgements());
  receive_one(5000);
  EXPECT_EQ(take(b, 5000).size(), 1U);
}

TEST_F(Acknowledgements, AreNotKeptFromAStreamOfMessages) {
  become_familiar();
  for (int i = 0; i < 3; ++i) receive_one(50);
  EXPECT_EQ(take(b, 50).size(), 1U);
}

TEST_F(Acknowledgements, AreNotKeptIfTheyRefuse) {
  become_familiar();
  post(IBV_WR_SEND, 8);
  for (const auto& packet : take(a)) give(b, packet);
  const auto sent = take(b);
  ASSERT_EQ(sent.size(), 1U) << "there is no receive";
  EXPECT_EQ(parsed(sent[0]).aeth.kind(), wire::AckKind::rnr_nak);
}

TEST_F(Acknowledgements, AreNotKeptFromPeersThatWouldTakeThemAfterTheAnswer) {
  connection.source_port = 0xc000;
  become_familiar();
  receive_one(50);
  EXPECT_EQ(take(b, 50).size(), 1U);
}

TEST_F(Acknowledgements, AreForgottenWithTheirQueuePair) {
  become_familiar();
  receive_one(50);
  EXPECT_TRUE(take(b, 50).empty());
  b.engine->destroy(number);
  EXPECT_TRUE(take(b, 5000).empty());
  EXPECT_FALSE(b.engine->keeps_acknowledgements());
}

}  // namespace
}  // namespace softhca::transport
