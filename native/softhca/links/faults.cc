#include "softhca/links/faults.h"

#include <algorithm>
#include <cstring>

namespace softhca::links {

bool Faults::happens(double rate) {
  // Always asks, so that one rate doesn't shift what another sees.
  return std::uniform_real_distribution<>(0, 1)(random_) < rate;
}

uint8_t* Faults::reserve(const Route& route, size_t bytes) {
  next_.route = route;
  next_.bytes.resize(bytes);
  return next_.bytes.data();
}

bool Faults::pass_on(const Route& route, std::span<const uint8_t> bytes) {
  uint8_t* to = link_.reserve(route, bytes.size());
  if (!to) return false;
  memcpy(to, bytes.data(), bytes.size());
  link_.send();
  return true;
}

void Faults::send() {
  const bool lost = happens(rates_.loss), corrupted = happens(rates_.corruption),
             duplicated = happens(rates_.duplication);
  if (lost) {
    ++counts_.lost;
    return;
  }
  for (int copy = duplicated ? 2 : 1; copy > 0; --copy) {
    Held packet = next_;
    packet.due_ns = now_ns_;
    if (corrupted && copy == 1) {
      ++counts_.corrupted;
      for (uint64_t flips = 1 + random_() % 3; flips > 0; --flips) {
        const size_t bit = random_() % (packet.bytes.size() * 8);
        packet.bytes[bit / 8] ^= uint8_t(1 << bit % 8);
      }
    }
    if (happens(rates_.delay) && rates_.delay_ns > 0) {
      ++counts_.delayed;
      packet.due_ns += 1 + random_() % rates_.delay_ns;
    }
    held_.push_back(std::move(packet));
  }
  counts_.duplicated += duplicated;
}

void Faults::flush(uint64_t now_ns) {
  now_ns_ = now_ns;
  std::erase_if(held_, [&](const Held& packet) {
    return packet.due_ns <= now_ns && pass_on(packet.route, packet.bytes);
  });
  link_.flush(now_ns);
}

size_t Faults::receive(std::span<Datagram> into, uint64_t now_ns) {
  return link_.receive(into, now_ns);
}

uint64_t Faults::next_deadline_ns() const {
  uint64_t deadline = link_.next_deadline_ns();
  for (const Held& packet : held_) deadline = std::min(deadline, packet.due_ns);
  return deadline;
}

}  // namespace softhca::links
