#include "softhca/links/aperture.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <new>

namespace softhca::links {
namespace {

constexpr uint64_t magic = 0x6b6e696c61637664;
constexpr uint32_t version = 1;
constexpr size_t line = 64;  // of a cache

constexpr size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

struct Aperture::Header {
  uint64_t magic;
  uint32_t version, participants, slots;
};

struct Aperture::Participant {
  std::atomic<uint32_t> present;
  wire::Gid address;
};

// A multiple of cache lines, and of no large power of two, so that slots don't compete for the same
// places in a cache.
struct alignas(line) Aperture::Slot {
  uint32_t bytes;
  uint32_t flow_label;
  uint16_t source_port;
  uint8_t traffic_class, hop_limit;
  wire::Gid destination;  // of the packet: a group, or the consumer
  uint8_t packet[round_up(wire::max_packet, line)];
};

struct Aperture::Ring {
  alignas(line) std::atomic<uint32_t> head;  // one after the last that was written
  alignas(line) std::atomic<uint32_t> tail;  // one after the last that was taken

  Slot& slot(uint32_t position, uint32_t slots) {
    return reinterpret_cast<Slot*>(this + 1)[position & (slots - 1)];
  }
};

size_t Aperture::bytes_for(const ApertureLayout& layout) {
  const size_t participants = layout.participants;
  return line + participants * line +
         participants * participants * (sizeof(Ring) + layout.slots * sizeof(Slot));
}

bool Aperture::format(std::span<std::byte> memory, const ApertureLayout& layout) {
  static_assert(sizeof(Header) <= line && sizeof(Participant) <= line);
  if (layout.participants == 0 || layout.participants > max_participants ||
      !std::has_single_bit(layout.slots) || layout.slots > max_slots ||
      memory.size() < bytes_for(layout) || reinterpret_cast<uintptr_t>(memory.data()) % line != 0)
    return false;
  memset(memory.data(), 0, line + layout.participants * line);
  for (uint32_t i = 0; i < layout.participants * layout.participants; ++i) {
    new (memory.data() + line + layout.participants * line +
         i * (sizeof(Ring) + layout.slots * sizeof(Slot))) Ring{};
  }
  const Header header{magic, version, layout.participants, layout.slots};
  memcpy(memory.data(), &header, sizeof header);
  return true;
}

Aperture::Participant& Aperture::participant(uint32_t number) const {
  return *reinterpret_cast<Participant*>(memory_.data() + line + number * line);
}

Aperture::Ring& Aperture::ring(uint32_t from, uint32_t to) const {
  const size_t at = size_t(from) * layout_.participants + to;
  return *reinterpret_cast<Ring*>(memory_.data() + line + layout_.participants * line +
                                  at * (sizeof(Ring) + layout_.slots * sizeof(Slot)));
}

std::unique_ptr<Aperture> Aperture::attach(std::span<std::byte> memory, uint32_t number,
                                           const wire::Gid& address, std::string* problem) {
  Header header{};
  if (memory.size() >= sizeof header) memcpy(&header, memory.data(), sizeof header);
  const ApertureLayout layout{header.participants, header.slots};
  if (header.magic != magic || header.version != version) {
    *problem = "the aperture has no rings of packets, or those of another version of the library";
  } else if (layout.participants > max_participants || layout.slots > max_slots ||
             !std::has_single_bit(layout.slots) || memory.size() < bytes_for(layout)) {
    *problem = "the aperture's rings of packets don't fit into it; format it anew";
  } else if (number >= layout.participants) {
    *problem = "the aperture has rings for " + std::to_string(layout.participants) +
               " participants, and " + std::to_string(number) + " is none of their numbers";
  } else {
    return std::unique_ptr<Aperture>(new Aperture(memory, layout, number, address));
  }
  return nullptr;
}

Aperture::Aperture(std::span<std::byte> memory, const ApertureLayout& layout, uint32_t number,
                   const wire::Gid& address)
    : memory_(memory),
      layout_(layout),
      own_(number),
      address_(address),
      outgoing_(layout.participants),
      incoming_(layout.participants) {
  Participant& own = participant(own_);
  own.present.store(0, std::memory_order_release);
  for (uint32_t i = 0; i < layout_.participants; ++i) {
    Outgoing& out = outgoing_[i];
    out.ring = &ring(own_, i);
    out.head = out.ring->head.load(std::memory_order_relaxed);
    out.tail = out.ring->tail.load(std::memory_order_acquire);
    Incoming& in = incoming_[i];
    in.ring = &ring(i, own_);
    in.tail = in.ring->head.load(std::memory_order_acquire);
    in.ring->tail.store(in.tail, std::memory_order_release);
  }
  own.address = address;
  own.present.store(1, std::memory_order_release);
}

Aperture::~Aperture() {
  for (Outgoing& outgoing : outgoing_) publish(outgoing);
  participant(own_).present.store(0, std::memory_order_release);
}

std::optional<uint32_t> Aperture::find(const wire::Gid& address) {
  const auto has = [&](uint32_t number) {
    const Participant& one = participant(number);
    return one.present.load(std::memory_order_acquire) != 0 && one.address == address;
  };
  if (has(last_found_)) return last_found_;
  for (uint32_t number = 0; number < layout_.participants; ++number) {
    if (has(number)) return last_found_ = number;
  }
  return std::nullopt;
}

void Aperture::publish(Outgoing& outgoing) {
  if (outgoing.published) return;
  outgoing.ring->head.store(outgoing.head, std::memory_order_release);
  outgoing.published = true;
}

Aperture::Slot* Aperture::next_slot(Outgoing& outgoing, bool* gone) {
  *gone = false;
  // More than a ring's length behind, or ahead, is nonsense, which counts as full.
  if (outgoing.head - outgoing.tail >= layout_.slots) {
    publish(outgoing);
    const uint32_t tail = outgoing.ring->tail.load(std::memory_order_acquire);
    const bool moved = tail != outgoing.tail;
    outgoing.tail = tail;
    if (outgoing.head - tail >= layout_.slots) {
      if (moved || outgoing.full_since == 0) outgoing.full_since = now_ns_;
      *gone = now_ns_ - outgoing.full_since >= patience_ns;
      return nullptr;
    }
  }
  outgoing.full_since = 0;
  return &outgoing.ring->slot(outgoing.head, layout_.slots);
}

uint8_t* Aperture::reserve(const Route& route, size_t bytes) {
  route_ = route;
  bytes_ = bytes;
  fate_ = Fate::nowhere;
  assert(bytes <= wire::max_packet);
  const bool is_own = route.source == address_;
  const auto to = is_own ? find(route.destination) : std::nullopt;
  if (is_own && wire::is_multicast(route.destination)) {
    fate_ = Fate::all;
  } else if (!to) {
    ++counts_.unknown;
  } else {
    bool gone;
    reserved_ = &outgoing_[*to];
    Slot* slot = next_slot(*reserved_, &gone);
    if (slot) {
      fate_ = Fate::ring;
      return slot->packet;
    }
    if (!gone) return nullptr;
    ++counts_.stalled;
  }
  return scratch_;
}

void Aperture::send() {
  const auto finish = [&](Outgoing& outgoing, Slot& slot) {
    slot.bytes = uint32_t(bytes_);
    slot.flow_label = route_.flow_label;
    slot.source_port = route_.source_port;
    slot.traffic_class = route_.traffic_class;
    slot.hop_limit = route_.hop_limit;
    slot.destination = route_.destination;
    ++outgoing.head;
    outgoing.published = false;
  };
  if (fate_ == Fate::ring) {
    finish(*reserved_, reserved_->ring->slot(reserved_->head, layout_.slots));
  } else if (fate_ == Fate::all) {
    // To all, as each looks itself for members of the group; who has no room misses it.
    for (uint32_t to = 0; to < layout_.participants; ++to) {
      if (participant(to).present.load(std::memory_order_acquire) == 0) continue;
      bool gone;
      Slot* slot = next_slot(outgoing_[to], &gone);
      if (!slot) {
        ++counts_.stalled;
        continue;
      }
      memcpy(slot->packet, scratch_, bytes_);
      finish(outgoing_[to], *slot);
    }
  }
}

void Aperture::flush(uint64_t now_ns) {
  now_ns_ = std::max<uint64_t>(now_ns, 1);
  for (Outgoing& outgoing : outgoing_) publish(outgoing);
}

size_t Aperture::receive(std::span<Datagram> into, uint64_t now_ns) {
  now_ns_ = std::max<uint64_t>(now_ns, 1);
  for (Incoming& incoming : incoming_) {
    if (incoming.taken == 0) continue;
    incoming.tail += incoming.taken;
    incoming.taken = 0;
    incoming.ring->tail.store(incoming.tail, std::memory_order_release);
  }
  size_t count = 0;
  for (uint32_t i = 0; i < layout_.participants && count < into.size(); ++i) {
    const uint32_t from = (turn_ + i) % layout_.participants;
    Incoming& incoming = incoming_[from];
    const uint32_t waiting = incoming.ring->head.load(std::memory_order_acquire) - incoming.tail;
    if (waiting == 0) continue;
    if (waiting > layout_.slots) {
      ++counts_.malformed;
      incoming.taken = waiting;
      continue;
    }
    const wire::Gid source = participant(from).address;
    for (; incoming.taken < waiting && count < into.size(); ++incoming.taken) {
      const Slot& slot = incoming.ring->slot(incoming.tail + incoming.taken, layout_.slots);
      const uint32_t bytes = *const_cast<const volatile uint32_t*>(&slot.bytes);
      if (bytes > wire::max_packet) {
        ++counts_.malformed;
        continue;
      }
      Route route;
      route.source = source;
      route.destination = slot.destination;
      route.source_port = slot.source_port;
      route.traffic_class = slot.traffic_class;
      route.hop_limit = slot.hop_limit;
      route.flow_label = slot.flow_label;
      into[count++] = {route, {slot.packet, bytes}, 0};
    }
  }
  turn_ = (turn_ + 1) % layout_.participants;
  return count;
}

}  // namespace softhca::links
