#include "softhca/wire/icrc.h"

#include <cassert>
#include <cstring>

#include "softhca/wire/bth.h"
#include "softhca/wire/crc32.h"
#include "softhca/wire/ipv4.h"
#include "softhca/wire/ipv6.h"
#include "softhca/wire/udp.h"

namespace softhca::wire {
namespace {

constexpr size_t icrc_bytes = 4;

// What the ICRC covers before the packet's own part: eight bytes of ones in place of the LRH, the
// headers of IP and UDP, and the BTH, with ones for the fields that routers may change. The
// register, too, starts as ones. With the first four bytes that makes zeros, and zeros in front of
// a CRC that starts as zero change nothing: so the head is made a multiple of 16 bytes long, which
// saves the CRC a beginning and an end.
class Head {
 public:
  Head(const Route& route, const uint8_t* bth, size_t bytes, uint16_t identification) {
    const auto udp_bytes = uint16_t(Udp::length + bytes + icrc_bytes);
    if (is_ipv4(route.destination)) {
      Ipv4{0,
           uint16_t(Ipv4::length + udp_bytes),
           identification,
           Ipv4::dont_fragment,
           0,
           protocol_udp,
           ipv4_of(route.source),
           ipv4_of(route.destination)}
          .emit_without_checksum(begin_ip(Ipv4::length));
    } else {
      Ipv6{0, 0, udp_bytes, protocol_udp, 0, route.source, route.destination}.emit(
          begin_ip(Ipv6::length));
    }
    Udp{route.source_port, roce_port, udp_bytes, 0}.emit(udp());
    finish(bth);
  }
  // As received.
  Head(std::span<const uint8_t> headers, const uint8_t* bth) {
    memcpy(begin_ip(headers.size() - Udp::length), headers.data(), headers.size());
    finish(bth);
  }

  uint32_t with(const uint8_t* rest, size_t bytes) const {
    return crc32_of_two(bytes_, length(), rest, bytes);
  }

 private:
  static constexpr size_t lrh_half = 4, zeros_before_ipv4 = 4;
  static constexpr size_t block = 16;
  static_assert((zeros_before_ipv4 + lrh_half + Ipv4::length + Udp::length + Bth::length) % block ==
                0);
  static_assert((lrh_half + Ipv6::length + Udp::length + Bth::length) % block == 0);

  uint8_t* begin_ip(size_t ip_length) {
    const bool ipv4 = ip_length == Ipv4::length;
    memset(bytes_, 0, zeros_before_ipv4);
    ip_at_ = (ipv4 ? zeros_before_ipv4 : 0) + lrh_half;
    memset(bytes_ + ip_at_ - lrh_half, 0xff, lrh_half);
    udp_at_ = ip_at_ + ip_length;
    return bytes_ + ip_at_;
  }
  uint8_t* udp() { return bytes_ + udp_at_; }
  size_t length() const { return udp_at_ + Udp::length + Bth::length; }

  void finish(const uint8_t* bth) {
    uint8_t* ip = bytes_ + ip_at_;
    if (udp_at_ - ip_at_ == Ipv4::length) {
      ip[Ipv4::type_of_service_at] = 0xff;
      ip[Ipv4::time_to_live_at] = 0xff;
      ip[Ipv4::checksum_at] = ip[Ipv4::checksum_at + 1] = 0xff;
    } else {
      ip[0] |= 0x0f;
      ip[1] = ip[2] = ip[3] = 0xff;
      ip[Ipv6::hop_limit_at] = 0xff;
    }
    udp()[Udp::checksum_at] = udp()[Udp::checksum_at + 1] = 0xff;
    uint8_t* to = udp() + Udp::length;
    memcpy(to, bth, Bth::length);
    to[Bth::congestion_at] = 0xff;
  }

  size_t ip_at_, udp_at_;
  uint8_t bytes_[lrh_half + Ipv6::length + Udp::length + Bth::length];
};

}  // namespace

uint32_t icrc(const Route& route, std::span<const uint8_t> packet, uint16_t identification) {
  assert(packet.size() >= Bth::length);
  return ~Head(route, packet.data(), packet.size(), identification)
              .with(packet.data() + Bth::length, packet.size() - Bth::length);
}

uint32_t icrc(const Route& route, std::span<const iovec> pieces, uint16_t identification) {
  size_t bytes = 0;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  assert(!pieces.empty() && pieces[0].iov_len >= Bth::length);
  const auto* first = static_cast<const uint8_t*>(pieces[0].iov_base);
  uint32_t state = Head(route, first, bytes, identification)
                       .with(first + Bth::length, pieces[0].iov_len - Bth::length);
  for (const iovec& piece : pieces.subspan(1))
    state = crc32_update(state, static_cast<const uint8_t*>(piece.iov_base), piece.iov_len);
  return ~state;
}

uint32_t icrc_of_frame(std::span<const uint8_t> headers, std::span<const uint8_t> packet) {
  assert(headers.size() == Ipv4::length + Udp::length ||
         headers.size() == Ipv6::length + Udp::length);
  assert(packet.size() >= Bth::length);
  return ~Head(headers, packet.data())
              .with(packet.data() + Bth::length, packet.size() - Bth::length);
}

namespace {
// Of the register's point of view, the identification is its lower half, two bytes before what
// follows the identification.
size_t bytes_from_identification(size_t packet) {
  return Ipv4::length - Ipv4::identification_at + Udp::length + packet;
}
uint32_t as_register(uint16_t identification) {
  return uint32_t(identification >> 8 | (identification & 0xff) << 8);
}
}  // namespace

uint32_t icrc_change(uint16_t identification, size_t bytes) {
  return crc32_forward(as_register(identification), bytes_from_identification(bytes));
}

std::optional<uint16_t> identification_behind(uint32_t change, size_t bytes) {
  const uint32_t before = crc32_back(change, bytes_from_identification(bytes));
  if (before >> 16 != 0) return std::nullopt;
  return uint16_t(as_register(uint16_t(before)));
}

void store_icrc(uint8_t* to, uint32_t value) {
  for (int byte = 0; byte < 4; ++byte) to[byte] = uint8_t(value >> (8 * byte));
}
uint32_t load_icrc(const uint8_t* from) {
  return from[0] | from[1] << 8 | from[2] << 16 | uint32_t(from[3]) << 24;
}

bool verify_icrc(const Route& route, std::span<const uint8_t> packet,
                 std::optional<uint16_t> identification) {
  if (packet.size() < Bth::length + icrc_bytes) return false;
  const auto covered = packet.first(packet.size() - icrc_bytes);
  const uint32_t received = load_icrc(packet.data() + covered.size());
  const uint32_t expected = icrc(route, covered, identification.value_or(0));
  if (received == expected) return true;
  return is_ipv4(route.destination) && !identification &&
         identification_behind(received ^ expected, covered.size()).has_value();
}

}  // namespace softhca::wire
