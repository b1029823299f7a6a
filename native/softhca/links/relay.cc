#include "softhca/links/relay.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "softhca/wire/packet.h"

namespace softhca::links {
namespace {

constexpr size_t at_once = 16;

struct Header {
  Route route;
  uint32_t has_identification;
  uint32_t identification;
};

socklen_t address_of(uint32_t slot, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  const int length = snprintf(address->sun_path + 1, sizeof address->sun_path - 1,
                              "viaduct-softhca/%u/%u/packets", unsigned(geteuid()), unsigned(slot));
  return socklen_t(offsetof(sockaddr_un, sun_path) + 1 + size_t(length));
}

}  // namespace

struct Relay::Arrivals {
  struct One {
    Header header;
    uint8_t bytes[wire::max_packet];
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
    iovec pieces[2];
  };
  One one[at_once];
  mmsghdr messages[at_once];
};

std::unique_ptr<Relay> Relay::open(uint32_t slot, std::string* problem) {
  const int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_un address;
  const socklen_t length = address_of(slot, &address);
  const int on = 1;
  if (descriptor >= 0 && setsockopt(descriptor, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0 &&
      bind(descriptor, reinterpret_cast<sockaddr*>(&address), length) == 0)
    return std::unique_ptr<Relay>(new Relay(descriptor));
  *problem = std::string("the socket by which processes hand packets on can't be made: ") +
             strerror(errno);
  if (descriptor >= 0) close(descriptor);
  return nullptr;
}

Relay::Relay(int descriptor) : descriptor_(descriptor), arrivals_(std::make_unique<Arrivals>()) {}

Relay::~Relay() { close(descriptor_); }

bool Relay::pass_on(uint32_t slot, const Datagram& packet) {
  Header header{packet.route, packet.identification.has_value(), packet.identification.value_or(0)};
  iovec pieces[2] = {{&header, sizeof header},
                     {const_cast<uint8_t*>(packet.bytes.data()), packet.bytes.size()}};
  sockaddr_un address;
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = address_of(slot, &address);
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  return sendmsg(descriptor_, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

size_t Relay::receive(std::span<Datagram> into) {
  Arrivals& arrivals = *arrivals_;
  const size_t room = into.size() < at_once ? into.size() : at_once;
  for (size_t i = 0; i < room; ++i) {
    auto& one = arrivals.one[i];
    one.pieces[0] = {&one.header, sizeof one.header};
    one.pieces[1] = {one.bytes, sizeof one.bytes};
    msghdr& header = arrivals.messages[i].msg_hdr;
    header = {};
    header.msg_iov = one.pieces;
    header.msg_iovlen = 2;
    header.msg_control = one.control;
    header.msg_controllen = sizeof one.control;
  }
  const int got = recvmmsg(descriptor_, arrivals.messages, unsigned(room), MSG_DONTWAIT, nullptr);
  size_t count = 0;
  for (int i = 0; i < got; ++i) {
    const auto& one = arrivals.one[i];
    const mmsghdr& message = arrivals.messages[i];
    const cmsghdr* control = CMSG_FIRSTHDR(&message.msg_hdr);
    ucred sender{};
    if (control && control->cmsg_type == SCM_CREDENTIALS)
      memcpy(&sender, CMSG_DATA(control), sizeof sender);
    // Names of abstract sockets are anybody's: another user must not feign a peer's address.
    if (!control || sender.uid != geteuid() || message.msg_len < sizeof one.header) continue;
    into[count] = {
        one.header.route, {one.bytes, message.msg_len - sizeof one.header}, std::nullopt};
    if (one.header.has_identification)
      into[count].identification = uint16_t(one.header.identification);
    ++count;
  }
  return count;
}

}  // namespace softhca::links
