// A link that treats what is sent by another as a bad network does: from a seed, so that what
// happened can happen again.
#pragma once

#include <random>
#include <vector>

#include "softhca/links/link.h"

namespace softhca::links {

// Of a packet, each from 0 to 1.
struct FaultRates {
  double loss = 0;
  double duplication = 0;
  double corruption = 0;  // one to three bits are flipped
  double delay = 0;       // by up to `delay_ns`: others overtake it
  uint64_t delay_ns = 0;
};

struct FaultCounts {
  uint64_t lost = 0, duplicated = 0, corrupted = 0, delayed = 0;
};

class Faults : public Link {
 public:
  Faults(Link& link, const FaultRates& rates, uint64_t seed)
      : link_(link), rates_(rates), random_(seed) {}

  uint8_t* reserve(const Route& route, size_t bytes) override;
  void send() override;
  void flush(uint64_t now_ns) override;
  size_t receive(std::span<Datagram> into, uint64_t now_ns) override;
  uint64_t next_deadline_ns() const override;

  const FaultCounts& counts() const { return counts_; }

 private:
  struct Held {
    uint64_t due_ns;
    Route route;
    std::vector<uint8_t> bytes;
  };

  bool happens(double rate);
  // False if the other link has no room.
  bool pass_on(const Route& route, std::span<const uint8_t> bytes);

  Link& link_;
  FaultRates rates_;
  std::mt19937_64 random_;
  FaultCounts counts_;
  uint64_t now_ns_ = 0;
  Held next_{};
  std::vector<Held> held_;
};

}  // namespace softhca::links
