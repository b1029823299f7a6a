#include "softhca/links/udp.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "softhca/wire/icrc.h"
#include "softhca/wire/packet.h"
#include "softhca/wire/udp.h"

namespace softhca::links {
namespace {

// What the kernel takes at once: 64 segments, and no more than a datagram holds.
constexpr uint32_t max_segments = 64;
constexpr size_t max_datagram = 65507 - 40;
constexpr size_t arrival_bytes = 1 << 16;
constexpr size_t arrivals_at_once = 8;
static_assert(wire::max_packet <= max_datagram);
constexpr int buffer_bytes = 4 << 20;  // asked for; the system's limit may be lower

union Address {
  sockaddr any;
  sockaddr_in ipv4;
  sockaddr_in6 ipv6;
};

socklen_t make_address(const wire::Gid& gid, uint16_t port, uint32_t interface, Address* to) {
  memset(to, 0, sizeof *to);
  if (wire::is_ipv4(gid)) {
    to->ipv4.sin_family = AF_INET;
    to->ipv4.sin_port = htons(port);
    memcpy(&to->ipv4.sin_addr, gid.data() + 12, 4);
    return sizeof to->ipv4;
  }
  to->ipv6.sin6_family = AF_INET6;
  to->ipv6.sin6_port = htons(port);
  memcpy(&to->ipv6.sin6_addr, gid.data(), gid.size());
  const bool link_local = gid[0] == 0xfe && (gid[1] & 0xc0) == 0x80;
  if (link_local) to->ipv6.sin6_scope_id = interface;
  return sizeof to->ipv6;
}

bool set(int descriptor, int level, int name, int value) {
  return setsockopt(descriptor, level, name, &value, sizeof value) == 0;
}

std::string text_of(const wire::Gid& gid) {
  char text[INET6_ADDRSTRLEN];
  const bool ipv4 = wire::is_ipv4(gid);
  inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? gid.data() + 12 : gid.data(), text, sizeof text);
  return text;
}

bool configure(int descriptor, bool ipv4, bool shared) {
  // The identification of an unfragmented packet from a socket that isn't connected is 0.
  const bool family_is_set =
      ipv4 ? set(descriptor, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO) &&
                 set(descriptor, IPPROTO_IP, IP_RECVTOS, 1) &&
                 set(descriptor, IPPROTO_IP, IP_RECVTTL, 1)
           : set(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1) &&
                 set(descriptor, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO) &&
                 set(descriptor, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) &&
                 set(descriptor, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) &&
                 // rxe sends none, which UDP over IPv6 doesn't allow without this.
                 set(descriptor, SOL_UDP, UDP_NO_CHECK6_RX, 1);
  set(descriptor, SOL_SOCKET, SO_RCVBUF, buffer_bytes);
  set(descriptor, SOL_SOCKET, SO_SNDBUF, buffer_bytes);
  return family_is_set && set(descriptor, SOL_UDP, UDP_GRO, 1) &&
         (!shared || set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1));
}

std::string problem_of_binding(const wire::Gid& address, int error) {
  std::string what = "UDP port 4791 of " + text_of(address) + " can't be used: " + strerror(error);
  if (error == EADDRINUSE)
    return what +
           "; another program has it, or the kernel's Soft-RoCE (see: rdma link), which has "
           "to be removed first (rdma link delete NAME)";
  if (error == EADDRNOTAVAIL) return what + "; give an address of this host (see: ip address)";
  return what;
}

}  // namespace

struct Udp::Arrivals {
  struct One {
    Address from;
    alignas(cmsghdr) char control[128];
    iovec piece;
    uint8_t bytes[arrival_bytes];
  };
  One one[arrivals_at_once];
  mmsghdr messages[arrivals_at_once];
  size_t count = 0, next = 0;
  // Of the one that is being taken apart.
  Route route{};
  size_t segment = 0, at = 0;
};

std::unique_ptr<Udp> Udp::open(const UdpOptions& options, std::string* problem) {
  const bool ipv4 = wire::is_ipv4(options.address);
  const int descriptor =
      socket(ipv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) {
    *problem = std::string("a UDP socket can't be made: ") + strerror(errno);
    return nullptr;
  }
  Address address;
  const socklen_t length =
      make_address(options.address, wire::roce_port, options.interface, &address);
  if (!configure(descriptor, ipv4, options.shared)) {
    *problem = std::string("a UDP socket can't be set up for RoCEv2: ") + strerror(errno) +
               "; Linux 5.0 or newer is needed";
  } else if (bind(descriptor, &address.any, length) != 0) {
    *problem = problem_of_binding(options.address, errno);
  } else {
    return std::unique_ptr<Udp>(new Udp(options, descriptor));
  }
  close(descriptor);
  return nullptr;
}

Udp::Udp(const UdpOptions& options, int descriptor)
    : options_(options),
      ipv4_(wire::is_ipv4(options.address)),
      descriptor_(descriptor),
      arrivals_(std::make_unique<Arrivals>()) {
  batch_.bytes.resize(max_datagram);
}

Udp::~Udp() { close(descriptor_); }

bool Udp::fits(const Route& route, size_t bytes) const {
  return batch_.count == 0 || (batch_.count < max_segments && batch_.used + bytes <= max_datagram &&
                               batch_.last == batch_.segment && bytes <= batch_.segment &&
                               route.destination == batch_.route.destination &&
                               route.traffic_class == batch_.route.traffic_class);
}

uint8_t* Udp::reserve(const Route& route, size_t bytes) {
  dropping_ = route.source != options_.address || route.source_port != source_port ||
              wire::is_ipv4(route.destination) != ipv4_;
  if (dropping_) {
    nowhere_.resize(bytes);
    return nowhere_.data();
  }
  if (!fits(route, bytes) && !send_batch()) return nullptr;
  if (batch_.count == 0) {
    batch_.route = route;
    batch_.segment = bytes;
  }
  reserved_ = bytes;
  return batch_.bytes.data() + batch_.used;
}

void Udp::send() {
  if (dropping_) {
    ++counts_.refused;
    counts_.last_error = EADDRNOTAVAIL;
    return;
  }
  uint8_t* packet = batch_.bytes.data() + batch_.used;
  if (ipv4_ && batch_.count > 0) {
    // Where the kernel cuts a batch into packets, it counts their identifications up.
    const size_t covered = reserved_ - wire::icrc_length;
    uint8_t* icrc = packet + covered;
    wire::store_icrc(icrc,
                     wire::load_icrc(icrc) ^ wire::icrc_change(uint16_t(batch_.count), covered));
  }
  batch_.used += reserved_;
  batch_.last = reserved_;
  ++batch_.count;
}

// False: the kernel has no room; the batch stays.
bool Udp::send_batch() {
  if (batch_.count == 0) return true;
  Address to;
  msghdr message{};
  message.msg_name = &to;
  message.msg_namelen =
      make_address(batch_.route.destination, wire::roce_port, options_.interface, &to);
  iovec piece{batch_.bytes.data(), batch_.used};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(int))] = {};
  message.msg_control = control;
  message.msg_controllen = 0;
  const auto add = [&](int level, int type, const void* value, size_t bytes) {
    auto* header = reinterpret_cast<cmsghdr*>(control + message.msg_controllen);
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(header), value, bytes);
    message.msg_controllen += CMSG_SPACE(bytes);
  };
  const auto segment = uint16_t(batch_.segment);
  if (batch_.count > 1) add(SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
  const int traffic_class = batch_.route.traffic_class;
  if (traffic_class != 0)
    add(ipv4_ ? IPPROTO_IP : IPPROTO_IPV6, ipv4_ ? IP_TOS : IPV6_TCLASS, &traffic_class,
        sizeof traffic_class);
  if (sendmsg(descriptor_, &message, 0) < 0) {
    if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR) return false;
    // As lost as on the wire: retries and their end are the engine's.
    counts_.refused += batch_.count;
    counts_.last_error = errno;
  }
  batch_.used = batch_.count = 0;
  return true;
}

void Udp::flush(uint64_t) { send_batch(); }

bool Udp::take_next(Datagram* into) {
  Arrivals& arrivals = *arrivals_;
  while (arrivals.next < arrivals.count) {
    auto& one = arrivals.one[arrivals.next];
    const mmsghdr& message = arrivals.messages[arrivals.next];
    const size_t bytes = message.msg_len;
    if (arrivals.at == 0) {
      arrivals.segment = bytes;
      Route& route = arrivals.route;
      route = {};
      route.destination = options_.address;
      if (ipv4_) {
        std::array<uint8_t, 4> address;
        memcpy(address.data(), &one.from.ipv4.sin_addr, address.size());
        route.source = wire::ipv4_gid(address);
        route.source_port = ntohs(one.from.ipv4.sin_port);
      } else {
        memcpy(route.source.data(), &one.from.ipv6.sin6_addr, route.source.size());
        route.source_port = ntohs(one.from.ipv6.sin6_port);
      }
      auto* header = const_cast<msghdr*>(&message.msg_hdr);
      for (cmsghdr* item = CMSG_FIRSTHDR(header); item; item = CMSG_NXTHDR(header, item)) {
        int value = 0;
        memcpy(&value, CMSG_DATA(item), std::min(sizeof value, item->cmsg_len - CMSG_LEN(0)));
        if (item->cmsg_level == SOL_UDP) {
          if (item->cmsg_type == UDP_GRO && value > 0) arrivals.segment = size_t(value);
        } else if (item->cmsg_type == (ipv4_ ? IP_TOS : IPV6_TCLASS)) {
          route.traffic_class = uint8_t(value);
        } else if (item->cmsg_type == (ipv4_ ? IP_TTL : IPV6_HOPLIMIT)) {
          route.hop_limit = uint8_t(value);
        }
      }
    }
    if (arrivals.at >= bytes) {
      ++arrivals.next;
      arrivals.at = 0;
      continue;
    }
    const size_t count = std::min(arrivals.segment, bytes - arrivals.at);
    *into = {arrivals.route, {one.bytes + arrivals.at, count}, std::nullopt};
    if (!ipv4_) into->identification = 0;
    arrivals.at += count;
    return true;
  }
  return false;
}

size_t Udp::receive(std::span<Datagram> into, uint64_t) {
  Arrivals& arrivals = *arrivals_;
  size_t count = 0;
  if (arrivals.next == arrivals.count) {
    for (size_t i = 0; i < arrivals_at_once; ++i) {
      auto& one = arrivals.one[i];
      one.piece = {one.bytes, sizeof one.bytes};
      msghdr& header = arrivals.messages[i].msg_hdr;
      header = {};
      header.msg_name = &one.from;
      header.msg_namelen = sizeof one.from;
      header.msg_iov = &one.piece;
      header.msg_iovlen = 1;
      header.msg_control = one.control;
      header.msg_controllen = sizeof one.control;
    }
    const int got =
        recvmmsg(descriptor_, arrivals.messages, arrivals_at_once, MSG_DONTWAIT, nullptr);
    arrivals.count = got > 0 ? size_t(got) : 0;
    arrivals.next = arrivals.at = 0;
  }
  while (count < into.size() && take_next(&into[count])) ++count;
  return count;
}

bool steer_by_queue_pair(int descriptor, std::span<const Steering> rules) {
  // Offsets are those in the UDP datagram's payload: the word that ends with the destination queue
  // pair begins at 4.
  std::vector<sock_filter> program{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, wire::Bth::congestion_at),
                                   BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xffffff)};
  for (const Steering& rule : rules) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, rule.first, 0, 2));
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, rule.last, 1, 0));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, rule.socket));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, 0));
  const sock_fprog filter{uint16_t(program.size()), program.data()};
  return setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof filter) == 0;
}

}  // namespace softhca::links
