// The way to other hosts: the transport engine, the ports that its packets pass, and the thread
// that keeps them going while the program doesn't.
//
// One lock guards all of it. A thread that posts or polls does what there is to do itself, if
// nobody is inside; else whoever is inside does it before leaving. The network's own thread sleeps
// until packets come or a timer runs out. While it finds that the program polls, it leaves the
// packets to the program.
#pragma once

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
      if (network_) network_->mutex_.lock();
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
  // nullptr: VIADUCT_PACKET_RINGS names none. There from the beginning.
  links::Aperture* rings() const { return ports_.rings(); }

  // The program has posted sends.
  void wake(uint32_t queue_pair);
  // The program polls.
  void progress();
  // The program is going to sleep until there is an event.
  void stop_polling();

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
  void leave();
  void take_woken();
  void put_broken_into_error();
  void publish_counters();
  uint64_t next_deadline_ns() const;
  void ring();
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
  bool more_ = false;                     // the outbox was full
  std::atomic<uint32_t> polls_{0};        // that were made under the lock
  uint32_t empty_polls_ = 0;              // since packets came
  std::atomic<uint64_t> sleeping_until_;  // by the thread; 0: it is awake
  std::atomic<bool> leaves_packets_{false};

  std::mutex woken_mutex_;
  std::vector<uint32_t> woken_;
  std::atomic<uint32_t> woken_count_{0};
  std::vector<uint32_t> taking_;
};

}  // namespace softhca
