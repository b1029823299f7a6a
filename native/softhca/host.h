// What this process is on the device: its slot, its segment, its peers, and the thread that keeps
// them honest (the agent), which sleeps until a process comes, goes or asks.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "softhca/heap.h"
#include "softhca/rendezvous.h"
#include "softhca/site.h"

namespace softhca {

struct QueuePair;
struct CompletionQueue;
struct SharedReceiveQueue;
struct Context;
class Network;

// Gives out indices in turn, so that a freed one is not used again at once.
class IndexPool {
 public:
  explicit IndexPool(uint32_t count, uint32_t start = 0) : used_(count), next_(start % count) {}
  // The index, or -1.
  int64_t take();
  void give(uint32_t index);

 private:
  std::vector<bool> used_;
  uint32_t next_;
};

class Host {
 public:
  // The host of this process; made by the first call (and again by the first call after a fork).
  // nullptr with errno.
  static Host* get();

  // False in a child made by fork: the objects of the parent are not the child's.
  bool usable() const { return usable_.load(std::memory_order_relaxed); }

  Site& site() { return *self_; }
  std::shared_ptr<Site> self() { return self_; }
  Segment& segment() { return *self_->segment; }
  KeyTable& keys() { return *keys_; }
  uint32_t slot() const { return self_->slot; }

  // The site of a slot; attaches if need be. nullptr if nobody is there.
  std::shared_ptr<Site> reach(uint32_t slot);

  // Memory in the segment for rings; zeroed, backed. 0 with errno.
  uint64_t allocate(uint64_t bytes);
  void release(uint64_t offset);

  uint32_t new_id() { return next_id_.fetch_add(1, std::memory_order_relaxed); }

  // Queue pairs with send work that has to be tried again, or to be sent as packets.
  void enlist(QueuePair* qp);
  void delist(QueuePair* qp);
  // Whether there is something for a polling program to move on: parked work, or packets.
  bool has_parked() const { return parked_count_.load(std::memory_order_relaxed) != 0; }
  // Does so; packets only if the program has nothing else to do.
  void progress(bool idle);

  // nullptr: nothing has needed it yet.
  Network* network() const { return network_.load(std::memory_order_acquire); }
  // Makes it at first. nullptr: `problem` says why.
  Network* open_network(std::string* problem);

  std::mutex objects;  // guards the tables and pools below
  IndexPool qp_indices, cq_indices, srq_indices, context_indices;
  std::vector<std::atomic<QueuePair*>> qps;  // polling reads it without the lock
  std::vector<CompletionQueue*> cqs;
  std::vector<SharedReceiveQueue*> srqs;
  std::vector<Context*> contexts;
  uint32_t qp_limit = 0;  // all in use are below

  std::atomic<uint64_t> dm_used{0};  // bytes of device memory

  std::mutex keys_mutex;  // guards the free slots of the key table
  uint32_t keys_used = 0;

 private:
  explicit Host(uint32_t seed);
  bool start();
  void run_agent();
  void run_retries();
  void retry_parked();
  void note_parked();
  void on_accept();
  void on_departure(uint64_t token);
  void signal_deferred();
  void recover(uint16_t holder);
  static void after_fork();
  // Between these the host's threads stand still.
  void pause();
  void go_on();
  void close_all();

  struct Connection {
    int fd = -1;  // of a peer that attached to us
    uint16_t holder = 0;
    std::weak_ptr<Site> site;  // of a peer we attached to
  };

  std::atomic<bool> usable_{true};
  std::shared_ptr<Site> self_;
  KeyTable* keys_ = nullptr;
  SegmentFiles files_;
  int listener_ = -1;
  int doorbell_ = -1;
  int epoll_ = -1;
  std::mutex agent_mutex_;  // held by the agent while it works
  std::atomic<uint32_t> next_id_{1};

  std::mutex heap_mutex_;
  Heap heap_{heap_begin, segment_bytes};

  std::mutex peers_mutex_;
  std::vector<std::shared_ptr<Site>> peers_;
  std::unordered_map<uint64_t, Connection> connections_;
  uint64_t next_token_ = 16;
  uint16_t next_holder_ = owner_holder + 1;

  std::mutex parked_mutex_;
  std::condition_variable parked_changed_;
  std::vector<QueuePair*> parked_;
  std::atomic<uint32_t> parked_count_{0};
  bool retries_started_ = false;

  std::mutex network_mutex_;  // held while it is made
  std::atomic<Network*> network_{nullptr};
};

}  // namespace softhca
