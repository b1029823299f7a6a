// What a queue pair has in addition while its messages travel as packets.
//
// Work requests are copied into a ring when they are posted, and the transport engine takes them
// from there. A connected queue pair sends all that way; one of datagrams only what goes to other
// hosts, and what is posted while that is waiting.
#pragma once

#include <atomic>
#include <bit>
#include <memory>
#include <vector>

#include "softhca/qp.h"
#include "softhca/requester.h"
#include "softhca/transport/device.h"

namespace softhca {

// A receive work request that a message fills; of any site, for an XRC queue may be another's.
struct Receiving {
  bool present = false;
  uint64_t wr_id = 0;
  uint32_t sge_count = 0;
  ibv_sge sge[max_sge];
  std::shared_ptr<Site> site;
  SrqShared* shared_queue = nullptr;
};

struct PacketQueue {
  struct Entry {
    ParkedSend send;
    transport::SendWqe wqe;
  };

  explicit PacketQueue(uint32_t depth) : ring(std::bit_ceil(depth)) {}

  Entry& at(uint32_t index) { return ring[index & (ring.size() - 1)]; }

  std::vector<Entry> ring;             // a power of two
  std::atomic<uint32_t> posted{0};     // so far
  std::atomic<uint32_t> completed{0};  // so far

  Receiving receiving;
  // XRC: of the queue that the request at hand names.
  uint32_t chosen_pd = 0;
  std::shared_ptr<Site> chosen_site;
  // The send queue's completions had no room: it goes to the error state.
  bool overrun = false;

  bool connected = false;  // all goes as packets
  wire::Route route{};     // connected
  uint32_t reason = 0;     // a viaduct_path_reason
  std::atomic<uint64_t> operations{0}, bytes{0};
};

// Appends a copy of the request; the caller holds send_lock. ENOMEM if it is full.
int post_packets(QueuePair& qp, const SendRequest& request);

}  // namespace softhca
