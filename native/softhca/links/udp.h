// The link to other hosts: RoCEv2 over a UDP socket, without privileges. Meets rdma_rxe and
// hardware.
//
// A socket is bound to one address of the host. IPv4 packets leave unfragmented with identification
// 0, so their ICRC is known beforehand; the kernel shows no identification of those that come, so
// that is left open. Packets of one size to one peer are handed to the kernel together
// (UDP_SEGMENT) and taken from it together (UDP_GRO). Each multicast group has a socket of its own,
// bound to the group's address, as one bound to the host's gets no packets to groups.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "softhca/links/link.h"

namespace softhca::links {

struct UdpOptions {
  wire::Gid address{};
  uint32_t interface = 0;  // index; for link-local addresses
  // With other sockets on the same address, among which steer_by_queue_pair() chooses.
  bool shared = false;
};

struct UdpCounts {
  // By how many system calls packets went out, and in how many of the kernel's pieces they came:
  // the fewer the better.
  uint64_t packets_out = 0, calls_out = 0, packets_in = 0, pieces_in = 0;
  uint64_t refused = 0;  // packets that the kernel wouldn't send: too large, no route, a filter
  int last_error = 0;    // why
};

class Udp : public Link {
 public:
  // nullptr: `problem` says what is wrong and what to do.
  static std::unique_ptr<Udp> open(const UdpOptions& options, std::string* problem);
  ~Udp() override;

  // Packets leave with this source port, which routes have to have.
  static constexpr uint16_t source_port = 4791;

  // What isn't from this address or to one of its family is dropped and counted.
  uint8_t* reserve(const Route& route, size_t bytes) override;
  void send() override;
  void flush(uint64_t now_ns) override;
  size_t receive(std::span<Datagram> into, uint64_t now_ns) override;

  // Packets to this group come in, too. False: `problem` says why. Joining once more is nothing.
  bool join(const wire::Gid& group, std::string* problem);
  void leave(const wire::Gid& group);

  // To sleep on: readable when packets have come; the second when they have to a group.
  int descriptor() const { return descriptor_; }
  int group_descriptor() const { return group_events_; }
  bool has_groups() const { return !groups_.empty(); }
  // Those two, and each group's.
  std::vector<int> all_descriptors() const;
  const UdpCounts& counts() const { return counts_; }

 private:
  struct Batch {
    std::vector<uint8_t> bytes;
    Route route{};
    size_t used = 0;
    size_t segment = 0;  // of all but the last, which may be smaller
    size_t last = 0;
    uint32_t count = 0;
  };
  struct Arrivals;
  struct Group {
    wire::Gid address;
    int descriptor;
  };

  Udp(const UdpOptions& options, int descriptor, int group_events);
  bool fits(const Route& route, size_t bytes) const;
  bool send_batch();
  void take_arrivals();
  bool take_next(Datagram* into);

  const UdpOptions options_;
  const bool ipv4_;
  const int descriptor_;
  const int group_events_;  // an epoll of the groups' sockets
  std::vector<Group> groups_;
  size_t turn_ = 0;  // whose arrivals are looked at first: the host's address, or a group's
  UdpCounts counts_;
  Batch batch_;
  size_t reserved_ = 0;
  std::vector<uint8_t> nowhere_;  // for what is dropped
  bool dropping_ = false;
  std::unique_ptr<Arrivals> arrivals_;
};

// Of those queue pairs from `first` to `last`, packets go to the socket that was bound as number
// `socket`, from 0, of those that share the address. When a socket is closed, the one bound last
// gets its number.
struct Steering {
  uint32_t first, last;
  uint32_t socket;
};
// Through one of the sockets for all of them. What isn't named goes to socket 0.
bool steer_by_queue_pair(int descriptor, std::span<const Steering> rules);

}  // namespace softhca::links
