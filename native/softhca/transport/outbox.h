// Where the engine puts packets, and how they come to it: the upper half of a link.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "softhca/wire/route.h"

namespace softhca::transport {

// A received packet, BTH to ICRC.
struct Datagram {
  wire::Route route;  // from the sender's point of view
  std::span<const uint8_t> bytes;
  std::optional<uint16_t> identification;  // IPv4's, where the link knows it
};

class Outbox {
 public:
  virtual ~Outbox() = default;

  // Room for a packet of `bytes`, or nullptr while there is none. What was reserved and not sent is
  // forgotten.
  virtual uint8_t* reserve(const wire::Route& route, size_t bytes) = 0;
  // The packet that was written there, with its ICRC for identification 0.
  virtual void send() = 0;
};

}  // namespace softhca::transport
