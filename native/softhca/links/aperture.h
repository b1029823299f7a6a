// The link within an aperture: rings of packets in memory that all participants have mapped, for
// virtual machines whose memory can neither be mapped nor copied by others.
//
//   header      64 bytes: what is laid out here, and a random number that names it
//   participant 64 bytes each: who has the place, since when, a beat, the address
//   ring        for each ordered pair: where the producer is, where the consumer is (a cache line
//               each), then slots of one packet with its route
//
// Memory of zeros is laid out by whoever comes first, in one store. A ring has one producer and one
// consumer, so it needs no lock. Nothing that a peer can write is believed: positions and lengths
// are bounded where they are used. There is no wake-up, as none crosses between kernels: who waits
// polls.
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
  // Who beats no more has ended: another may take its place once none is free.
  static constexpr uint64_t beat_ns = 100'000'000, silence_ns = 2'000'000'000;

  static size_t bytes_for(const ApertureLayout& layout);
  // Once, before anyone attaches; the memory is aligned to a cache line. False: it is too small, or
  // the layout is beyond the limits.
  static bool format(std::span<std::byte> memory, const ApertureLayout& layout);
  // Of the memory: as many participants up to 16 as have rings of 32 slots or more; nothing if it
  // is too small for two.
  static std::optional<ApertureLayout> layout_for(size_t bytes);

  // As the participant of that number, of which there must be one at a time; one that was there
  // before and died is replaced, and what was on its way to it is dropped. nullptr: `problem` says
  // what is wrong.
  static std::unique_ptr<Aperture> attach(std::span<std::byte> memory, uint32_t participant,
                                          const wire::Gid& address, std::string* problem);
  // In a place that is free, under an address that nobody had before. Lays memory of zeros out;
  // waits for `silence_ns` if all places are taken, in case one's participant has died.
  static std::unique_ptr<Aperture> join(std::span<std::byte> memory, std::string* problem);
  ~Aperture() override;

  // Is no participant any more; packets are dropped from here on. Any thread may call it.
  void leave();
  const wire::Gid& address() const { return address_; }
  // Whether that is an address of this aperture; and whether whoever has it is there.
  bool is_near(const wire::Gid& address) const;
  bool is_there(const wire::Gid& address) { return find(address).has_value(); }

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
           uint32_t owner, const wire::Gid& address);
  static Header& header_of(std::span<std::byte> memory);
  static Participant& participant_of(std::span<std::byte> memory, uint32_t number);
  // The layout that memory has; nothing: `problem` says why it can't be used.
  static std::optional<ApertureLayout> read_layout(std::span<std::byte> memory,
                                                   std::string* problem);
  static std::optional<uint32_t> claim(Participant& place, uint32_t seen);
  Participant& participant(uint32_t number) const { return participant_of(memory_, number); }
  bool is_mine() const;
  void beat(uint64_t now_ns);
  Ring& ring(uint32_t from, uint32_t to) const;
  std::optional<uint32_t> find(const wire::Gid& address);
  // The slot to write next, or nullptr: there is none, and `gone` says whether to wait for one.
  Slot* next_slot(Outgoing& outgoing, bool* gone);
  void publish(Outgoing& outgoing);

  const std::span<std::byte> memory_;
  const ApertureLayout layout_;
  const uint32_t own_;    // whose place this is
  const uint32_t owner_;  // what stands there while it is
  const wire::Gid address_;
  ApertureCounts counts_;
  uint64_t now_ns_ = 1;
  uint64_t beaten_ns_ = 0;
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
