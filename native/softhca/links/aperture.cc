#include "softhca/links/aperture.h"

#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <new>

namespace softhca::links {
namespace {

// With the version of the layout in the last byte.
constexpr uint64_t magic = 0x76616b02;
constexpr size_t line = 64;  // of a cache

// What the header says, in one word.
constexpr uint64_t layout_word(const ApertureLayout& layout) {
  return magic << 32 | uint64_t(std::countr_zero(layout.slots)) << 16 | layout.participants;
}

// An owner's word: the lowest bit says that somebody is there, the others count who was.
constexpr bool is_present(uint32_t owner) { return owner & 1; }
constexpr uint32_t next_owner(uint32_t owner) { return (owner | 1) + 2; }

// Unique local addresses (RFC 4193): the aperture's name, whose turn it is in the place, the place.
constexpr size_t name_at = 4, turn_at = 12, place_at = 14, prefix_bytes = turn_at;
wire::Gid make_address(uint64_t name, uint32_t owner, uint32_t place) {
  wire::Gid gid{0xfd, 'V', 'i', 'a'};
  memcpy(gid.data() + name_at, &name, sizeof name);
  const auto put = [&](size_t at, uint32_t value) {
    gid[at] = uint8_t(value >> 8);
    gid[at + 1] = uint8_t(value);
  };
  put(turn_at, owner >> 1);
  put(place_at, place);
  return gid;
}

constexpr size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

struct Aperture::Header {
  std::atomic<uint64_t> layout, name;
};

struct Aperture::Participant {
  std::atomic<uint32_t> owner, beat;
  // The first half is stored last; it is 0 while there is no address.
  std::atomic<uint64_t> address[2];

  wire::Gid read_address() const {
    const uint64_t halves[2] = {address[0].load(std::memory_order_acquire),
                                address[1].load(std::memory_order_relaxed)};
    return std::bit_cast<wire::Gid>(halves);
  }
  void write_address(const wire::Gid& gid) {
    const auto halves = std::bit_cast<std::array<uint64_t, 2>>(gid);
    address[1].store(halves[1], std::memory_order_relaxed);
    address[0].store(halves[0], std::memory_order_release);
  }
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

Aperture::Header& Aperture::header_of(std::span<std::byte> memory) {
  return *reinterpret_cast<Header*>(memory.data());
}

Aperture::Participant& Aperture::participant_of(std::span<std::byte> memory, uint32_t number) {
  return *reinterpret_cast<Participant*>(memory.data() + line + number * line);
}

Aperture::Ring& Aperture::ring(uint32_t from, uint32_t to) const {
  const size_t at = size_t(from) * layout_.participants + to;
  return *reinterpret_cast<Ring*>(memory_.data() + line + layout_.participants * line +
                                  at * (sizeof(Ring) + layout_.slots * sizeof(Slot)));
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
  header_of(memory).layout.store(layout_word(layout), std::memory_order_release);
  return true;
}

std::optional<ApertureLayout> Aperture::layout_for(size_t bytes) {
  constexpr uint32_t most_participants = 16, least_slots = 32, most_slots = 256;
  for (uint32_t participants = most_participants; participants >= 2; participants /= 2) {
    for (uint32_t slots = most_slots; slots >= least_slots; slots /= 2) {
      const ApertureLayout layout{participants, slots};
      if (bytes_for(layout) <= bytes) return layout;
    }
  }
  return std::nullopt;
}

std::optional<ApertureLayout> Aperture::read_layout(std::span<std::byte> memory,
                                                    std::string* problem) {
  uint64_t word = 0;
  if (memory.size() >= sizeof(Header))
    word = header_of(memory).layout.load(std::memory_order_acquire);
  const uint32_t logarithm = uint32_t(word >> 16) & 0xffff;
  if (word >> 32 != magic) {
    *problem = "the aperture has no rings of packets, or those of another version of the library";
    return std::nullopt;
  }
  const ApertureLayout layout{uint32_t(word) & 0xffff, 1U << std::min(logarithm, 31U)};
  if (layout.participants > 0 && layout.participants <= max_participants &&
      layout.slots <= max_slots && memory.size() >= bytes_for(layout))
    return layout;
  *problem = "the aperture's rings of packets don't fit into it; format it anew";
  return std::nullopt;
}

// The owner's word from now on; nothing if somebody else was faster.
std::optional<uint32_t> Aperture::claim(Participant& place, uint32_t seen) {
  const uint32_t owner = next_owner(seen);
  if (place.owner.compare_exchange_strong(seen, owner, std::memory_order_acq_rel)) return owner;
  return std::nullopt;
}

std::unique_ptr<Aperture> Aperture::attach(std::span<std::byte> memory, uint32_t number,
                                           const wire::Gid& address, std::string* problem) {
  const auto layout = read_layout(memory, problem);
  if (!layout) return nullptr;
  if (number >= layout->participants) {
    *problem = "the aperture has rings for " + std::to_string(layout->participants) +
               " participants, and " + std::to_string(number) + " is none of their numbers";
    return nullptr;
  }
  Participant& place = participant_of(memory, number);
  std::optional<uint32_t> owner;
  while (!owner) owner = claim(place, place.owner.load());
  return std::unique_ptr<Aperture>(new Aperture(memory, *layout, number, *owner, address));
}

std::unique_ptr<Aperture> Aperture::join(std::span<std::byte> memory, std::string* problem) {
  if (memory.size() < sizeof(Header) || reinterpret_cast<uintptr_t>(memory.data()) % line != 0) {
    *problem = "rings of packets begin at a multiple of " + std::to_string(line) + " bytes";
    return nullptr;
  }
  Header& header = header_of(memory);
  if (header.layout.load() == 0) {
    const auto fitting = layout_for(memory.size());
    if (!fitting) {
      *problem = "the aperture has " + std::to_string(memory.size()) +
                 " bytes for rings of packets; for two participants " +
                 std::to_string(bytes_for({.participants = 2, .slots = 32})) + " are needed";
      return nullptr;
    }
    uint64_t nothing = 0;
    header.layout.compare_exchange_strong(nothing, layout_word(*fitting));
  }
  const auto layout = read_layout(memory, problem);
  if (!layout) return nullptr;
  uint64_t name = 0, unnamed = 0;
  if (getrandom(&name, sizeof name, 0) != sizeof name) {
    *problem = "the kernel gives no random number to name the aperture by";
    return nullptr;
  }
  if (!header.name.compare_exchange_strong(unnamed, name | 1)) name = unnamed;
  name |= 1;

  const auto take = [&](uint32_t number, uint32_t seen) -> std::unique_ptr<Aperture> {
    const auto owner = claim(participant_of(memory, number), seen);
    if (!owner) return nullptr;
    const wire::Gid address = make_address(name, *owner, number);
    return std::unique_ptr<Aperture>(new Aperture(memory, *layout, number, *owner, address));
  };
  struct Seen {
    uint32_t owner, beat;
  };
  std::vector<Seen> before(layout->participants);
  for (uint32_t number = 0; number < layout->participants; ++number) {
    const Participant& place = participant_of(memory, number);
    before[number] = {place.owner.load(), place.beat.load()};
    if (is_present(before[number].owner)) continue;
    if (auto link = take(number, before[number].owner)) return link;
  }
  const timespec silence{time_t(silence_ns / 1'000'000'000), long(silence_ns % 1'000'000'000)};
  nanosleep(&silence, nullptr);
  for (uint32_t number = 0; number < layout->participants; ++number) {
    const Participant& place = participant_of(memory, number);
    const uint32_t owner = place.owner.load();
    if (is_present(owner) &&
        (owner != before[number].owner || place.beat.load() != before[number].beat))
      continue;
    if (auto link = take(number, owner)) return link;
  }
  *problem = "all " + std::to_string(layout->participants) +
             " places of the aperture's rings of packets are taken; give them more memory";
  return nullptr;
}

Aperture::Aperture(std::span<std::byte> memory, const ApertureLayout& layout, uint32_t number,
                   uint32_t owner, const wire::Gid& address)
    : memory_(memory),
      layout_(layout),
      own_(number),
      owner_(owner),
      address_(address),
      outgoing_(layout.participants),
      incoming_(layout.participants) {
  // Under an address that nobody has until the rings are as this end knows them.
  Participant& own = participant(own_);
  own.write_address({});
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
  own.write_address(address);
}

Aperture::~Aperture() {
  for (Outgoing& outgoing : outgoing_) publish(outgoing);
  leave();
}

void Aperture::leave() {
  uint32_t mine = owner_;
  participant(own_).owner.compare_exchange_strong(mine, owner_ & ~1U, std::memory_order_acq_rel);
}

bool Aperture::is_mine() const {
  return participant(own_).owner.load(std::memory_order_relaxed) == owner_;
}

void Aperture::beat(uint64_t now_ns) {
  now_ns_ = std::max<uint64_t>(now_ns, 1);
  if (now_ns_ - beaten_ns_ < beat_ns) return;
  beaten_ns_ = now_ns_;
  participant(own_).beat.fetch_add(1, std::memory_order_relaxed);
}

bool Aperture::is_near(const wire::Gid& address) const {
  return std::equal(address_.begin(), address_.begin() + prefix_bytes, address.begin());
}

std::optional<uint32_t> Aperture::find(const wire::Gid& address) {
  const auto has = [&](uint32_t number) {
    const Participant& one = participant(number);
    return is_present(one.owner.load(std::memory_order_acquire)) && one.read_address() == address;
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
  const bool is_own = route.source == address_ && is_mine();
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
      if (!is_present(participant(to).owner.load(std::memory_order_acquire))) continue;
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
  beat(now_ns);
  if (!is_mine()) return;
  for (Outgoing& outgoing : outgoing_) publish(outgoing);
}

size_t Aperture::receive(std::span<Datagram> into, uint64_t now_ns) {
  beat(now_ns);
  // Another has the place: its are the rings.
  if (!is_mine()) return 0;
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
    const wire::Gid source = participant(from).read_address();
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
