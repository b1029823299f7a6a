// The way to other hosts: the transport engine, the ports that its packets pass, and the thread
// that keeps them going while the program doesn't.
//
// One lock guards all of it. A thread that posts or polls does what there is to do itself, if
// nobody is inside; else whoever is inside does it before leaving. The network's own thread sleeps
// until packets come or a timer runs out. While the program polls, it leaves the packets to the
// program, which has them sooner, and looks again after a millisecond.
//
// No wake-up is lost:
// - Who posts lists its queue pair, and only then tries the lock; who leaves the lock gives it up,
//   and only then looks at the list. So one of the two sees what was listed.
// - The thread says until when it sleeps, and then looks at the list once more; who leaves the lock
//   with an earlier deadline than that rings, unless the thread has left packets to the program and
//   so looks again within a millisecond.
// - Packets that come while the thread sleeps on the sockets end its sleep. While it leaves them to
//   the program, its sleep ends after a millisecond, whatever the program does then, and timers
//   wait no longer than that for a program that polls no more. A program that is about to sleep
//   says so (stop_polling()): either it sees that packets are left to it and rings, or the thread,
//   which says that first, sees that nobody polls any more.
// - An acknowledgement that is kept for the program's answer has a deadline as timers have.
#pragma once

#include <poll.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "softhca/gid_table.h"
#include "softhca/links/faults.h"
#include "softhca/links/pcap.h"
#include "softhca/links/ports.h"
#include "softhca/packet_device.h"
#include "softhca/transport/engine.h"

namespace softhca {

class Network {
 public:
  // nullptr: `problem` says why.
  static std::unique_ptr<Network> open(Host& host, std::string* problem);
  ~Network();

  // What is done to the engine is done under this; the caller holds no other lock.
  class Guard {
   public:
    explicit Guard(Network* network) : network_(network) {
      if (network_) network_->enter();
    }
    ~Guard() {
      if (network_) network_->leave();
    }
    Guard(const Guard&) = delete;

   private:
    Network* network_;
  };

  // The caller has a Guard.
  transport::Engine& engine() { return engine_; }
  bool add_port(const GidEntry& address, std::string* problem);
  // Packets to the group come in by the interface of that address. False: `problem` says why not.
  bool join(const GidEntry& address, const wire::Gid& group, std::string* problem);
  void leave_group(const wire::Gid& group) { ports_.leave(group); }
  // nullptr: VIADUCT_PACKET_RINGS names none. There from the beginning.
  links::Aperture* rings() const { return ports_.rings(); }

  // The program has posted sends.
  void wake(uint32_t queue_pair);
  // The program polls.
  void progress();
  // The program is going to sleep until there is an event.
  void stop_polling();

  // The process ends.
  void finish();

  // For a fork: between these nothing moves; and what the child does.
  void pause() { mutex_.lock(); }
  void go_on() { leave(); }
  void close_descriptors();

 private:
  explicit Network(Host& host);
  bool start(std::string* problem);
  bool join_rings(std::string* problem);
  void run();
  // What there is to do, for somebody who holds the lock. True: packets came.
  bool drive(bool receives);
  void enter();
  void leave();
  void yield();
  void take_woken();
  void put_broken_into_error();
  void publish_counters();
  uint64_t next_deadline_ns() const;
  void ring();
  void note_descriptors();
  void sleep_until(uint64_t deadline_ns, bool watches_packets);

  Host& host_;
  PacketDevice device_;
  links::Ports ports_;
  std::unique_ptr<links::Pcap> capture_;
  std::unique_ptr<links::Faults> faults_;
  links::Link* link_;
  transport::Engine engine_;
  int doorbell_ = -1;

  std::mutex mutex_;
  transport::Datagram datagrams_[64];        // for drive()
  bool more_ = false;                        // the outbox was full
  uint32_t empty_polls_ = 0;                 // since packets came
  std::atomic<uint32_t> polls_to_yield_{0};  // so many of them, now
  std::atomic<uint64_t> polled_at_ns_{0};    // when the program last polled; 0: it is to sleep
  std::atomic<uint32_t> polls_to_sleep_{0};  // that the program may still make before it sleeps
  std::atomic<uint64_t> sleeping_until_;     // by the thread; 0: it is awake
  std::atomic<bool> leaves_packets_{false};
  // The thread's own: the doorbell, then the ports.
  pollfd watched_[links::Ports::most_descriptors + 1];
  nfds_t watched_count_ = 1;

  std::mutex woken_mutex_;
  std::vector<uint32_t> woken_;
  std::atomic<uint32_t> woken_count_{0};
  std::vector<uint32_t> taking_;
};

}  // namespace softhca
