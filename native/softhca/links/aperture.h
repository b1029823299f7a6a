// The link within an aperture: rings of packets in memory that all participants have mapped, for
// virtual machines whose memory can neither be mapped nor copied by others.
//
//   header      64 bytes: magic, layout version, participants, slots
//   participant 64 bytes each: whether it is there, its address
//   ring        for each ordered pair: where the producer is, where the consumer is (a cache line
//               each), then slots of one packet with its route
//
// A ring has one producer and one consumer, so it needs no lock. Nothing that a peer can write is
// believed: positions and lengths are bounded where they are used. There is no wake-up, as none
// crosses between kernels: who waits polls.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "softhca/links/link.h"
#include "softhca/wire/packet.h"

namespace softhca::links {

struct ApertureLayout {
  uint32_t participants = 2;
  uint32_t slots = 256;  // of each ring; a power of two
};

struct ApertureCounts {
  uint64_t unknown = 0;    // packets from another address, or to one that no participant has
  uint64_t stalled = 0;    // packets to a participant that has taken none for a while
  uint64_t malformed = 0;  // rings or slots in which a peer wrote what can't be
};

class Aperture : public Link {
 public:
  static constexpr uint32_t max_participants = 256, max_slots = 1 << 16;
  // How long a full ring keeps its producer waiting; then its consumer counts as gone until it
  // takes something, and packets to it are dropped, as a network does.
  static constexpr uint64_t patience_ns = 100'000'000;

  static size_t bytes_for(const ApertureLayout& layout);
  // Once, before anyone attaches; the memory is aligned to a cache line. False: it is too small, or
  // the layout is beyond the limits.
  static bool format(std::span<std::byte> memory, const ApertureLayout& layout);

  // As the participant of that number, of which there must be one at a time; one that was there
  // before and died is replaced, and what was on its way to it is dropped. nullptr: `problem` says
  // what is wrong.
  static std::unique_ptr<Aperture> attach(std::span<std::byte> memory, uint32_t participant,
                                          const wire::Gid& address, std::string* problem);
  // Is no participant any more.
  ~Aperture() override;

  uint8_t* reserve(const Route& route, size_t bytes) override;
  void send() override;
  void flush(uint64_t now_ns) override;
  size_t receive(std::span<Datagram> into, uint64_t now_ns) override;

  const ApertureCounts& counts() const { return counts_; }

 private:
  struct Header;
  struct Participant;
  struct Slot;
  struct Ring;
  struct Outgoing {
    Ring* ring = nullptr;
    uint32_t head = 0;        // one after the last that was written
    uint32_t tail = 0;        // as last seen
    uint64_t full_since = 0;  // 0: it isn't
    bool published = true;
  };
  struct Incoming {
    Ring* ring = nullptr;
    uint32_t tail = 0;
    uint32_t taken = 0;  // given out by receive() and valid until the next
  };

  Aperture(std::span<std::byte> memory, const ApertureLayout& layout, uint32_t participant,
           const wire::Gid& address);
  Participant& participant(uint32_t number) const;
  Ring& ring(uint32_t from, uint32_t to) const;
  std::optional<uint32_t> find(const wire::Gid& address);
  // The slot to write next, or nullptr: there is none, and `gone` says whether to wait for one.
  Slot* next_slot(Outgoing& outgoing, bool* gone);
  void publish(Outgoing& outgoing);

  const std::span<std::byte> memory_;
  const ApertureLayout layout_;
  const uint32_t own_;
  const wire::Gid address_;
  ApertureCounts counts_;
  uint64_t now_ns_ = 1;
  std::vector<Outgoing> outgoing_;
  std::vector<Incoming> incoming_;
  uint32_t turn_ = 0;  // whose packets are looked at first
  uint32_t last_found_ = 0;
  // Of the packet that is reserved. Without a ring it goes to all, or nowhere.
  Outgoing* reserved_ = nullptr;
  enum class Fate { ring, all, nowhere } fate_ = Fate::nowhere;
  Route route_{};
  size_t bytes_ = 0;
  uint8_t scratch_[wire::max_packet];
};

}  // namespace softhca::links
