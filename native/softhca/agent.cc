// The host's two threads: the agent, which greets, buries and signals; and the retries, which is
// started when send work first has to wait.
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "softhca/cq.h"
#include "softhca/host.h"
#include "softhca/network.h"
#include "softhca/packet_queue.h"
#include "softhca/qp.h"
#include "softhca/requester.h"
#include "softhca/srq.h"

namespace softhca {
namespace {

// No honest peer leaves more events than that to be signalled before the agent wakes.
constexpr uint32_t most_deferred = 1u << 16;

}  // namespace

void Host::run_agent() {
  prctl(PR_SET_NAME, "softhca-agent");
  for (;;) {
    epoll_event events[32];
    int n = epoll_wait(epoll_, events, 32, -1);
    if (n < 0 && errno != EINTR) return;
    std::lock_guard working(agent_mutex_);
    // Departures first: a process that takes a dead one's slot must find its locks freed.
    for (int i = 0; i < n; ++i)
      if (events[i].data.u64 >= 16) on_departure(events[i].data.u64);
    for (int i = 0; i < n; ++i) {
      if (events[i].data.u64 == 0) on_accept();
      if (events[i].data.u64 == 1) {
        uint64_t count;
        if (read(doorbell_, &count, sizeof count) == sizeof count) {
          signal_deferred();
          parked_changed_.notify_all();
        }
      }
    }
  }
}

void Host::on_accept() {
  for (;;) {
    int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    std::lock_guard guard(peers_mutex_);
    auto in_use = [this](uint16_t holder) {
      for (auto& [token, connection] : connections_)
        if (connection.holder == holder) return true;
      return false;
    };
    while (next_holder_ <= owner_holder || in_use(next_holder_)) ++next_holder_;
    uint16_t holder = next_holder_++;
    uint64_t token = next_token_++;
    epoll_event event{EPOLLIN | EPOLLRDHUP, {.u64 = token}};
    self_->holders[holder / 64].fetch_or(1ull << holder % 64);
    if (!welcome(fd, holder, slot(), files_, doorbell_) ||
        epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
      self_->holders[holder / 64].fetch_and(~(1ull << holder % 64));
      close(fd);
      continue;
    }
    connections_[token] = Connection{fd, holder, {}};
  }
}

void Host::on_departure(uint64_t token) {
  Connection connection;
  {
    std::lock_guard guard(peers_mutex_);
    auto it = connections_.find(token);
    if (it == connections_.end()) return;
    connection = it->second;
    connections_.erase(it);
  }
  if (connection.fd >= 0) {
    recover(connection.holder);
    self_->holders[connection.holder / 64].fetch_and(~(1ull << connection.holder % 64));
    close(connection.fd);
  } else if (auto site = connection.site.lock()) {
    epoll_ctl(epoll_, EPOLL_CTL_DEL, site->connection, nullptr);
    site->gone.store(true, std::memory_order_release);
    {
      std::lock_guard guard(peers_mutex_);
      if (peers_[site->slot] == site) peers_[site->slot].reset();
    }
    parked_changed_.notify_all();
  }
}

void Host::signal_deferred() {
  std::lock_guard guard(objects);
  for (uint32_t i = 0; i < max_cq; ++i) {
    if (!cqs[i]) continue;
    CqShared& shared = segment().cq[i];
    const uint32_t count = std::min(shared.deferred.exchange(0), most_deferred);
    // Our own note of the descriptor: peers write the shared one.
    if (cqs[i]->channel && count > 0) raise_eventfd(cqs[i]->channel->verbs.fd, count);
  }
  for (uint32_t i = 0; i < max_context; ++i) {
    if (!contexts[i]) continue;
    const uint32_t count = std::min(segment().context[i].deferred.exchange(0), most_deferred);
    if (count > 0) raise_eventfd(contexts[i]->verbs.context.async_fd, count);
  }
}

// What a process that died inside our segment left: its locks, a receive it had taken, and perhaps
// a completion whose event it didn't come to raise.
void Host::recover(uint16_t holder) {
  std::lock_guard guard(objects);
  for (uint32_t i = 0; i < max_cq; ++i) {
    if (!cqs[i]) continue;
    CqShared& shared = segment().cq[i];
    if (seize(shared.producers, holder, site())) mend_head(*cqs[i]);
    reclaim(shared.producers, holder);
    if (cqs[i]->channel && shared.head.load() != shared.tail.load() &&
        shared.armed.load() == arm_none) {
      shared.events.fetch_add(1);
      raise_eventfd(cqs[i]->channel->verbs.fd);
    }
  }
  for (uint32_t i = 0; i < max_srq; ++i)
    if (srqs[i]) reclaim(segment().srq[i].consumers, holder);
  for (uint32_t i = 0; i < qp_limit; ++i) {
    if (!qps[i]) continue;
    QpShared& shared = segment().qp[i];
    if (!seize(shared.inbound, holder, site())) {
      reclaim(shared.inbound, holder);
      continue;
    }
    // A note of a receive that is completed already was only not cleared: to put that receive back
    // would complete it twice.
    QueuePair& qp = *qps[i];
    if (shared.taken.present && qp.recv_cq &&
        has_received(*qp.recv_cq, qp.ex.qp_base.qp_num, shared.attempts)) {
      shared.taken.present = taken_none;
    }
    if (shared.taken.present) return_taken(shared, qp.srq);
    reclaim(shared.inbound, holder);
  }
  reclaim(segment().header.atomics, holder);
  for (uint32_t i = 0; i < max_context; ++i) reclaim(segment().context[i].producers, holder);
}

void Host::note_parked() {
  const uint32_t packets = network() ? 1 : 0;
  parked_count_.store(uint32_t(parked_.size()) + packets, std::memory_order_relaxed);
}

void Host::enlist(QueuePair* qp) {
  if (qp->packets) return network()->wake(qp->ex.qp_base.qp_num);
  std::lock_guard guard(parked_mutex_);
  if (!qp->enlisted) {
    qp->enlisted = true;
    parked_.push_back(qp);
    note_parked();
  }
  if (!retries_started_) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread([this] { run_retries(); }).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    retries_started_ = true;
  }
  parked_changed_.notify_all();
}

void Host::delist(QueuePair* qp) {
  std::lock_guard guard(parked_mutex_);
  if (!qp->enlisted) return;
  qp->enlisted = false;
  std::erase(parked_, qp);
  note_parked();
}

void Host::progress(bool idle) {
  retry_parked();
  if (Network* made = idle ? network() : nullptr) made->progress();
}

void Host::retry_parked() {
  std::unique_lock guard(parked_mutex_, std::try_to_lock);
  if (!guard || parked_.empty()) return;
  for (size_t i = 0; i < parked_.size();) {
    QueuePair* qp = parked_[i];
    if (advance(*qp)) {
      ++i;
    } else {
      qp->enlisted = false;
      parked_[i] = parked_.back();
      parked_.pop_back();
    }
  }
  note_parked();
}

void Host::run_retries() {
  prctl(PR_SET_NAME, "softhca-retry");
  for (;;) {
    {
      std::unique_lock guard(parked_mutex_);
      parked_changed_.wait(guard, [this] { return !parked_.empty(); });
      // Coarse: a program that polls retries by itself, this is for one that sleeps.
      parked_changed_.wait_for(guard, std::chrono::microseconds(500));
    }
    retry_parked();
  }
}

}  // namespace softhca
