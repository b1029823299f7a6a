// Completion events: armed, solicited, counted, and never lost.
#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <thread>

#include "fabric.h"

namespace {

bool readable(int fd, int timeout_ms) {
  pollfd entry{fd, POLLIN, 0};
  return poll(&entry, 1, timeout_ms) == 1;
}

void take(Endpoint& endpoint) {
  ibv_cq* cq;
  void* context;
  ASSERT_EQ(ibv_get_cq_event(endpoint.channel, &cq, &context), 0);
  EXPECT_EQ(cq, endpoint.cq);
  EXPECT_EQ(context, &endpoint);
  ibv_ack_cq_events(cq, 1);
}

}  // namespace

TEST(Events, one_event_for_one_arming) {
  Pair pair;
  for (uint64_t i = 0; i < 4; ++i) ASSERT_EQ(pair.b.post_recv(i, 0, 8), 0);
  pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8));
  EXPECT_FALSE(readable(pair.b.channel->fd, 0));
  pair.b.wait();
  ASSERT_EQ(ibv_req_notify_cq(pair.b.cq, 0), 0);
  EXPECT_FALSE(readable(pair.b.channel->fd, 0));
  pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8));
  pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8));
  EXPECT_TRUE(readable(pair.b.channel->fd, 1000));
  take(pair.b);
  EXPECT_FALSE(readable(pair.b.channel->fd, 0));
  int flags = fcntl(pair.b.channel->fd, F_GETFL);
  ASSERT_EQ(fcntl(pair.b.channel->fd, F_SETFL, flags | O_NONBLOCK), 0);
  ibv_cq* cq;
  void* context;
  EXPECT_EQ(ibv_get_cq_event(pair.b.channel, &cq, &context), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST(Events, solicited_only_waits_for_a_solicited_message_or_an_error) {
  Pair pair;
  for (uint64_t i = 0; i < 4; ++i) ASSERT_EQ(pair.b.post_recv(i, 0, 8), 0);
  ASSERT_EQ(ibv_req_notify_cq(pair.b.cq, 1), 0);
  pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8));
  EXPECT_FALSE(readable(pair.b.channel->fd, 0));
  ibv_send_wr wr = pair.a.make(1, IBV_WR_SEND, 0, 8);
  wr.send_flags |= IBV_SEND_SOLICITED;
  pair.a.post(wr);
  EXPECT_TRUE(readable(pair.b.channel->fd, 1000));
  take(pair.b);
  ASSERT_EQ(ibv_req_notify_cq(pair.b.cq, 1), 0);
  ASSERT_EQ(pair.b.modify_to_error(), 0);
  EXPECT_TRUE(readable(pair.b.channel->fd, 1000));
  take(pair.b);
}

TEST(Events, arming_raises_the_event_for_a_completion_that_came_after_the_last_poll) {
  Pair pair;
  for (uint64_t i = 0; i < 4; ++i) ASSERT_EQ(pair.b.post_recv(i, 0, 8), 0);
  pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8));
  ASSERT_EQ(ibv_req_notify_cq(pair.b.cq, 1), 0);
  EXPECT_FALSE(readable(pair.b.channel->fd, 0)) << "it is not solicited";
  ASSERT_EQ(ibv_req_notify_cq(pair.b.cq, 0), 0);
  ASSERT_TRUE(readable(pair.b.channel->fd, 1000));
  take(pair.b);
  ibv_send_wr wr = pair.a.make(1, IBV_WR_SEND, 0, 8);
  wr.send_flags |= IBV_SEND_SOLICITED;
  pair.a.post(wr);
  EXPECT_FALSE(readable(pair.b.channel->fd, 0)) << "not armed";
  ASSERT_EQ(ibv_req_notify_cq(pair.b.cq, 1), 0);
  ASSERT_TRUE(readable(pair.b.channel->fd, 1000));
  take(pair.b);
  pair.b.wait();
  pair.b.wait();
  ASSERT_EQ(ibv_req_notify_cq(pair.b.cq, 0), 0);
  EXPECT_FALSE(readable(pair.b.channel->fd, 0));
}

TEST(Events, arming_raises_no_second_event_for_a_completion) {
  Pair pair;
  for (uint64_t i = 0; i < 4; ++i) ASSERT_EQ(pair.b.post_recv(i, 0, 8), 0);
  ASSERT_EQ(ibv_req_notify_cq(pair.b.cq, 0), 0);
  for (int i = 0; i < 3; ++i) {
    pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8));
    ASSERT_TRUE(readable(pair.b.channel->fd, 1000));
    take(pair.b);
    ASSERT_EQ(ibv_req_notify_cq(pair.b.cq, 0), 0);
    EXPECT_FALSE(readable(pair.b.channel->fd, 0));
    pair.b.wait();
  }
}

TEST(Events, a_sleeper_misses_no_completion) {
  Pair pair;
  constexpr int messages = 3000;
  for (uint64_t i = 0; i < 32; ++i) ASSERT_EQ(pair.b.post_recv(i, 0, 8), 0);
  std::thread sender([&] {
    for (int i = 0; i < messages; ++i) {
      ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8)), 0);
      ASSERT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
    }
  });
  int got = 0;
  ASSERT_EQ(ibv_req_notify_cq(pair.b.cq, 0), 0);
  while (got < messages) {
    ibv_wc wc;
    while (ibv_poll_cq(pair.b.cq, 1, &wc) == 1) {
      ++got;
      ASSERT_EQ(pair.b.post_recv(1, 0, 8), 0);
    }
    if (got == messages) break;
    ASSERT_TRUE(readable(pair.b.channel->fd, 10000));
    take(pair.b);
    ASSERT_EQ(ibv_req_notify_cq(pair.b.cq, 0), 0);
  }
  sender.join();
}

TEST(Events, a_sleeping_sender_is_served_when_the_receive_comes) {
  Pair pair;
  ASSERT_EQ(ibv_req_notify_cq(pair.a.cq, 0), 0);
  ASSERT_EQ(pair.a.post(pair.a.make(1, IBV_WR_SEND, 0, 8)), 0);
  EXPECT_FALSE(readable(pair.a.channel->fd, 20));
  ASSERT_EQ(pair.b.post_recv(1, 0, 8), 0);
  EXPECT_TRUE(readable(pair.a.channel->fd, 5000));
  take(pair.a);
}

TEST(Events, resizing_keeps_what_is_in_the_queue) {
  Pair pair;
  for (uint64_t i = 0; i < 20; ++i) ASSERT_EQ(pair.b.post_recv(i, 0, 8), 0);
  for (uint64_t i = 0; i < 20; ++i) {
    pair.a.post(pair.a.make(i, IBV_WR_SEND, 0, 8));
    pair.a.wait();
  }
  EXPECT_EQ(ibv_resize_cq(pair.b.cq, 8), EINVAL);
  ASSERT_EQ(ibv_resize_cq(pair.b.cq, 1024), 0);
  EXPECT_GE(pair.b.cq->cqe, 1024);
  for (uint64_t i = 0; i < 20; ++i) EXPECT_EQ(pair.b.wait().wr_id, i);
}
