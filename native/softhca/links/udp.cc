#include "softhca/links/udp.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
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
  const bool link_group = gid[0] == 0xff && (gid[1] & 15) <= 2;
  if (link_local || link_group) to->ipv6.sin6_scope_id = interface;
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

// The interface that has an IPv6 address; 0: none.
uint32_t interface_of(const wire::Gid& gid) {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return 0;
  uint32_t found = 0;
  for (const ifaddrs* one = all; one; one = one->ifa_next) {
    if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET6) continue;
    const auto& address = *reinterpret_cast<const sockaddr_in6*>(one->ifa_addr);
    if (memcmp(&address.sin6_addr, gid.data(), gid.size()) == 0)
      found = if_nametoindex(one->ifa_name);
  }
  freeifaddrs(all);
  return found;
}

// How the kernel is told of a group and of the interface: IPv4 goes by the interface's address.
ip_mreqn ipv4_membership(const wire::Gid& group, const wire::Gid& own) {
  ip_mreqn membership{};
  memcpy(&membership.imr_multiaddr, group.data() + 12, sizeof membership.imr_multiaddr);
  memcpy(&membership.imr_address, own.data() + 12, sizeof membership.imr_address);
  return membership;
}

// Packets to groups leave by the interface that has the address; without one, they can't.
void configure_multicast(int descriptor, const UdpOptions& options) {
  if (wire::is_ipv4(options.address)) {
    const ip_mreqn way = ipv4_membership(wire::Gid{}, options.address);
    setsockopt(descriptor, IPPROTO_IP, IP_MULTICAST_IF, &way, sizeof way);
  } else {
    set(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_IF, int(options.interface));
  }
}

bool enter_group(int descriptor, const wire::Gid& group, const UdpOptions& options) {
  if (wire::is_ipv4(group)) {
    const ip_mreqn membership = ipv4_membership(group, options.address);
    return setsockopt(descriptor, IPPROTO_IP, IP_ADD_MEMBERSHIP, &membership, sizeof membership) ==
           0;
  }
  ipv6_mreq membership{{}, options.interface};
  memcpy(&membership.ipv6mr_multiaddr, group.data(), group.size());
  return setsockopt(descriptor, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &membership,
                    sizeof membership) == 0;
}

// By default the kernel also gives a socket what came by interfaces on which others have joined;
// one of IPv6 even what came by those on which it hasn't, unless it is bound to one.
void listen_to_interface_alone(int descriptor, uint32_t interface) {
#ifndef SO_BINDTOIFINDEX
  constexpr int SO_BINDTOIFINDEX = 62;  // of Linux 5.0
#endif
  set(descriptor, IPPROTO_IP, IP_MULTICAST_ALL, 0);
  // Without privileges from Linux 5.7 on.
  if (interface != 0) set(descriptor, SOL_SOCKET, SO_BINDTOIFINDEX, int(interface));
}

// Whose process has port 4791 of the address; nothing: it can't be told.
std::optional<uid_t> user_of_port(const wire::Gid& address) {
  const bool ipv4 = wire::is_ipv4(address);
  const std::unique_ptr<FILE, int (*)(FILE*)> table(
      fopen(ipv4 ? "/proc/net/udp" : "/proc/net/udp6", "re"), fclose);
  if (!table) return std::nullopt;
  // Words of the address as they lie in memory.
  std::string own;
  for (size_t at = ipv4 ? 12 : 0; at < address.size(); at += sizeof(uint32_t)) {
    uint32_t word;
    char text[9];
    memcpy(&word, address.data() + at, sizeof word);
    snprintf(text, sizeof text, "%08X", unsigned(word));
    own += text;
  }
  char line[256];
  while (fgets(line, sizeof line, table.get())) {
    char local[33];
    unsigned port = 0, user = 0;
    if (sscanf(line, " %*u: %32[0-9A-F]:%x %*s %*s %*s %*s %*s %u", local, &port, &user) == 3 &&
        port == wire::roce_port && own == local)
      return user;
  }
  return std::nullopt;
}

std::string problem_of_binding(const wire::Gid& address, int error) {
  std::string what = "UDP port 4791 of " + text_of(address) + " can't be used: " + strerror(error);
  if (error == EADDRINUSE) {
    const auto user = user_of_port(address);
    const std::string who =
        user && *user != geteuid()
            ? "a process of user " + std::to_string(*user) +
                  " (processes of one user alone share a port; send from another address)"
            : "another program";
    return what + "; " + who + " has it, or the kernel's Soft-RoCE (see: rdma link), which has " +
           "to be removed first (rdma link delete NAME)";
  }
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
  // One, if the kernel had put together what came last: to find that there is no other costs it a
  // look.
  size_t wanted = arrivals_at_once;
  wire::Gid destination{};
  // Of the one that is being taken apart.
  Route route{};
  size_t segment = 0, at = 0;

  Arrivals() {
    for (size_t i = 0; i < arrivals_at_once; ++i) prepare(i);
  }
  // For the kernel to fill.
  void prepare(size_t index) {
    One& each = one[index];
    each.piece = {each.bytes, sizeof each.bytes};
    msghdr& header = messages[index].msg_hdr;
    header = {};
    header.msg_name = &each.from;
    header.msg_namelen = sizeof each.from;
    header.msg_iov = &each.piece;
    header.msg_iovlen = 1;
    header.msg_control = each.control;
    header.msg_controllen = sizeof each.control;
  }
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
    UdpOptions known = options;
    if (!ipv4 && known.interface == 0) known.interface = interface_of(options.address);
    configure_multicast(descriptor, known);
    const int group_events = epoll_create1(EPOLL_CLOEXEC);
    if (group_events >= 0) return std::unique_ptr<Udp>(new Udp(known, descriptor, group_events));
    *problem = std::string("no epoll can be made: ") + strerror(errno);
  }
  close(descriptor);
  return nullptr;
}

Udp::Udp(const UdpOptions& options, int descriptor, int group_events)
    : options_(options),
      ipv4_(wire::is_ipv4(options.address)),
      descriptor_(descriptor),
      group_events_(group_events),
      arrivals_(std::make_unique<Arrivals>()) {
  batch_.bytes.resize(max_datagram);
}

Udp::~Udp() {
  close(descriptor_);
  for (const Group& group : groups_) close(group.descriptor);
  close(group_events_);
}

bool Udp::join(const wire::Gid& group, std::string* problem) {
  for (const Group& joined : groups_) {
    if (joined.address == group) return true;
  }
  if (!wire::is_multicast(group) || wire::is_ipv4(group) != ipv4_) {
    *problem = text_of(group) + " is no multicast address of the family of " +
               text_of(options_.address) + "; RoCEv2's groups are IP's";
    return false;
  }
  const int descriptor =
      socket(ipv4_ ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  Address address;
  const socklen_t length = make_address(group, wire::roce_port, options_.interface, &address);
  epoll_event event{};
  event.events = EPOLLIN;
  if (descriptor >= 0) listen_to_interface_alone(descriptor, options_.interface);
  // Each socket of a group gets a copy, so that processes share it.
  if (descriptor >= 0 && configure(descriptor, ipv4_, false) &&
      set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1) && bind(descriptor, &address.any, length) == 0 &&
      enter_group(descriptor, group, options_) &&
      epoll_ctl(group_events_, EPOLL_CTL_ADD, descriptor, &event) == 0) {
    groups_.push_back({group, descriptor});
    return true;
  }
  *problem = "the group " + text_of(group) + " can't be joined on the interface of " +
             text_of(options_.address) + ": " + strerror(errno) +
             "; is it up and able to multicast (see: ip link), and are there too many groups "
             "(net.ipv4.igmp_max_memberships)?";
  if (descriptor >= 0) close(descriptor);
  return false;
}

void Udp::leave(const wire::Gid& group) {
  std::erase_if(groups_, [&](const Group& joined) {
    if (joined.address != group) return false;
    close(joined.descriptor);
    return true;
  });
}

std::vector<int> Udp::all_descriptors() const {
  std::vector<int> all{descriptor_, group_events_};
  for (const Group& group : groups_) all.push_back(group.descriptor);
  return all;
}

bool Udp::fits(const Route& route, size_t bytes) const {
  return batch_.count == 0 || (batch_.count < max_segments && batch_.used + bytes <= max_datagram &&
                               batch_.last == batch_.segment && bytes <= batch_.segment &&
                               route.destination == batch_.route.destination &&
                               route.traffic_class == batch_.route.traffic_class &&
                               route.hop_limit == batch_.route.hop_limit);
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
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t)) + 2 * CMSG_SPACE(sizeof(int))] = {};
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
  // The system's own limit is 64 for one receiver and 1 for a group. 0: the system's.
  const int hop_limit = batch_.route.hop_limit;
  if (hop_limit != 0 &&
      hop_limit != (wire::is_multicast(batch_.route.destination) ? 1 : Route{}.hop_limit))
    add(ipv4_ ? IPPROTO_IP : IPPROTO_IPV6, ipv4_ ? IP_TTL : IPV6_HOPLIMIT, &hop_limit,
        sizeof hop_limit);
  ++counts_.calls_out;
  if (sendmsg(descriptor_, &message, 0) < 0) {
    if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR) return false;
    // As lost as on the wire: retries and their end are the engine's.
    counts_.refused += batch_.count;
    counts_.last_error = errno;
  } else {
    counts_.packets_out += batch_.count;
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
      route.destination = arrivals.destination;
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

// From the host's address and the groups in turns, so that neither keeps the other waiting.
void Udp::take_arrivals() {
  Arrivals& arrivals = *arrivals_;
  for (size_t i = 0; i < arrivals.count; ++i) arrivals.prepare(i);
  if (arrivals.count > 0)
    arrivals.wanted = arrivals.count == 1 && arrivals.segment < arrivals.messages[0].msg_len
                          ? 1
                          : arrivals_at_once;
  arrivals.count = arrivals.next = arrivals.at = 0;
  const size_t sources = 1 + groups_.size();
  for (size_t tries = 0; tries < sources && arrivals.count == 0; ++tries) {
    turn_ = (turn_ + 1) % sources;
    const Group* group = turn_ == 0 ? nullptr : &groups_[turn_ - 1];
    const int got = recvmmsg(group ? group->descriptor : descriptor_, arrivals.messages,
                             unsigned(arrivals.wanted), MSG_DONTWAIT, nullptr);
    arrivals.count = got > 0 ? size_t(got) : 0;
    counts_.pieces_in += arrivals.count;
    arrivals.destination = group ? group->address : options_.address;
  }
}

size_t Udp::receive(std::span<Datagram> into, uint64_t) {
  if (arrivals_->next == arrivals_->count) take_arrivals();
  size_t count = 0;
  while (count < into.size() && take_next(&into[count])) ++count;
  counts_.packets_in += count;
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
