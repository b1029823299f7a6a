// The RoCEv2 ports of one process as one link: a UDP socket for each address in use, the relay to
// the processes that share them, and the rings of an aperture.
#pragma once

#include <memory>
#include <vector>

#include "softhca/links/aperture.h"
#include "softhca/links/relay.h"
#include "softhca/links/udp.h"

namespace softhca::links {

struct PortCounts {
  uint64_t bytes_sent = 0, bytes_received = 0;  // BTH to ICRC
  uint64_t handed_on = 0;                       // came here, and were another process's
  uint64_t for_nobody = 0;                      // nobody took them
  uint64_t refused = 0;    // by the kernel, the aperture, or from no address of these
  uint64_t malformed = 0;  // in the aperture: rings and slots that a peer spoiled
};

class Ports : public Link {
 public:
  // Queue pairs from `first` to `last` are this process's; slot_of(queue pair) says whose others
  // are.
  struct Owner {
    uint32_t slot;
    uint32_t (*slot_of)(uint32_t queue_pair);
  };

  // One of the relay, two of each address.
  static constexpr size_t most_descriptors = 64;

  explicit Ports(const Owner& owner) : owner_(owner) {}

  // Opens the port of an address, unless it is open. False: `problem` says what is wrong.
  bool add(const UdpOptions& options, std::string* problem);
  bool has(const wire::Gid& address) const { return find(address) != nullptr; }

  // Packets to the group come in by the port of that address. False: `problem` says why not.
  bool join(const wire::Gid& address, const wire::Gid& group, std::string* problem);
  void leave(const wire::Gid& group);

  // The aperture's rings, at most once; nullptr: there are none.
  void take(std::unique_ptr<Aperture> rings) { rings_ = std::move(rings); }
  Aperture* rings() const { return rings_.get(); }
  // In a fork's child: the place in them is the parent's.
  void forget_rings() { static_cast<void>(rings_.release()); }

  uint8_t* reserve(const Route& route, size_t bytes) override;
  void send() override;
  void flush(uint64_t now_ns) override;
  size_t receive(std::span<Datagram> into, uint64_t now_ns) override;

  // To sleep on.
  std::vector<int> descriptors() const;
  // After a fork, to be closed in the child.
  std::vector<int> all_descriptors() const;
  PortCounts counts() const;

 private:
  struct Port {
    wire::Gid address;
    std::unique_ptr<Udp> udp;
  };

  Link* find(const wire::Gid& address) const;
  size_t receive_from(size_t source, std::span<Datagram> into, uint64_t now_ns);
  bool is_mine(const Datagram& packet);

  const Owner owner_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<Aperture> rings_;
  std::vector<Port> ports_;
  PortCounts counts_;
  Link* reserved_ = nullptr;
  size_t reserved_bytes_ = 0;
  std::vector<uint8_t> nowhere_;
  std::vector<Datagram> came_;
  static constexpr uint32_t relay_turns = 16;
  size_t next_ = 0;          // whose turn it is to receive
  uint32_t relay_turn_ = 0;  // the relay's is each of relay_turns
};

}  // namespace softhca::links
