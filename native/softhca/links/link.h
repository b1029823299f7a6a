// A way for packets between the transport engine and the world.
//
// `udp` meets other hosts, `aperture` virtual machines of this one; `faults` and `pcap` wrap
// another link.
#pragma once

#include "softhca/transport/outbox.h"

namespace softhca::links {

using transport::Datagram;
using wire::Route;

class Link : public transport::Outbox {
 public:
  // Passes on what was sent since, and what is due at this time.
  virtual void flush(uint64_t now_ns) = 0;
  // The packets that have come, as many as there is space for; they are valid until the next call.
  virtual size_t receive(std::span<Datagram> into, uint64_t now_ns) = 0;
  // When flush() has to be called at the latest, or UINT64_MAX.
  virtual uint64_t next_deadline_ns() const { return UINT64_MAX; }
};

}  // namespace softhca::links
