// Shared receive queues that are resized, at rest and while a peer takes from them.
#include <cerrno>

#include "child.h"
#include "fabric.h"

namespace {

int resize(ibv_srq* srq, uint32_t wanted) {
  ibv_srq_attr attr{wanted, 0, 0};
  return ibv_modify_srq(srq, &attr, IBV_SRQ_MAX_WR);
}

uint32_t capacity(ibv_srq* srq) {
  ibv_srq_attr attr{};
  EXPECT_EQ(ibv_query_srq(srq, &attr), 0);
  return attr.max_wr;
}

}  // namespace

TEST(SharedReceiveQueue, resizing_keeps_what_is_posted_in_its_order) {
  EndpointOptions with_srq{.with_srq = true};
  Pair pair({}, with_srq);
  ibv_srq* srq = pair.b.srq;
  uint64_t posted = 0, expected = 0;
  auto receive = [&](int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 16)), 0);
      ASSERT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
      EXPECT_EQ(pair.b.wait().wr_id, expected++);
    }
  };
  while (posted < 64) ASSERT_EQ(pair.b.post_recv(posted++, 8192, 64), 0);
  EXPECT_EQ(pair.b.post_recv(posted, 8192, 64), ENOMEM);
  receive(40);
  ASSERT_EQ(resize(srq, 300), 0);
  EXPECT_GE(capacity(srq), 300u);
  while (posted < 40 + 300) ASSERT_EQ(pair.b.post_recv(posted++, 8192, 64), 0);
  receive(260);
  EXPECT_EQ(resize(srq, 32), EINVAL) << "40 are posted";
  EXPECT_GE(capacity(srq), 300u);
  receive(10);
  ASSERT_EQ(resize(srq, 32), 0);
  EXPECT_EQ(capacity(srq), 32u);
  receive(30);
  while (posted < expected + 32) ASSERT_EQ(pair.b.post_recv(posted++, 8192, 64), 0);
  EXPECT_EQ(pair.b.post_recv(posted, 8192, 64), ENOMEM);
  receive(32);
}

TEST(SharedReceiveQueue, sizes_and_limits_that_cannot_be_are_refused) {
  Endpoint endpoint({.with_srq = true});
  EXPECT_EQ(resize(endpoint.srq, 0), EINVAL);
  EXPECT_EQ(resize(endpoint.srq, 1u << 30), EINVAL);
  ibv_srq_attr attr{0, 0, 60};
  ASSERT_EQ(ibv_modify_srq(endpoint.srq, &attr, IBV_SRQ_LIMIT), 0);
  EXPECT_EQ(resize(endpoint.srq, 16), EINVAL) << "below the limit";
  attr = {16, 0, 8};
  EXPECT_EQ(ibv_modify_srq(endpoint.srq, &attr, IBV_SRQ_MAX_WR | IBV_SRQ_LIMIT), 0);
  EXPECT_EQ(capacity(endpoint.srq), 16u);
}

TEST(SharedReceiveQueue, resizing_while_a_peer_takes_from_it_loses_nothing) {
  constexpr uint64_t messages = 2000;
  Child child([](int in, int out) {
    Endpoint mine;
    put(out, mine.name());
    ASSERT_EQ(mine.connect(get<Name>(in)), 0);
    put(out, 'r');
    get<char>(in);
    for (uint64_t i = 0; i < messages; ++i) {
      ASSERT_EQ(mine.post(mine.make(i, IBV_WR_SEND, 0, 16)), 0);
      ASSERT_EQ(mine.wait(60000).status, IBV_WC_SUCCESS);
    }
    get<char>(in);
  });
  Name theirs = get<Name>(child.from);
  Endpoint mine({.with_srq = true});
  put(child.to, mine.name());
  get<char>(child.from);
  ASSERT_EQ(mine.connect(theirs), 0);
  uint64_t posted = 0, received = 0;
  while (posted < 16) ASSERT_EQ(mine.post_recv(posted++, 8192, 64), 0);
  put(child.to, 'g');
  for (uint32_t round = 0; received < messages; ++round) {
    const int error = resize(mine.srq, 16u << round % 4);
    ASSERT_TRUE(error == 0 || error == EINVAL) << error;
    ibv_wc wc;
    while (received < messages && ibv_poll_cq(mine.cq, 1, &wc) == 1) {
      ASSERT_EQ(wc.status, IBV_WC_SUCCESS);
      ASSERT_EQ(wc.wr_id, received++);
    }
    while (posted < received + 16) ASSERT_EQ(mine.post_recv(posted++, 8192, 64), 0);
  }
  put(child.to, 'x');
  EXPECT_EQ(child.finish(), 0);
}
