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

constexpr size_t lrh_length = 8;
constexpr size_t max_headers = Ipv6::length + Udp::length;
constexpr size_t icrc_bytes = 4;

// The register after all up to and with the BTH. `headers` follow eight bytes for the LRH, and have
// room for the BTH behind them.
uint32_t begin(uint8_t* lrh, size_t headers_length, const uint8_t* bth) {
  memset(lrh, 0xff, lrh_length);
  uint8_t* ip = lrh + lrh_length;
  if (ip[0] >> 4 == 4) {
    ip[Ipv4::type_of_service_at] = 0xff;
    ip[Ipv4::time_to_live_at] = 0xff;
    ip[Ipv4::checksum_at] = ip[Ipv4::checksum_at + 1] = 0xff;
  } else {
    ip[0] |= 0x0f;
    ip[1] = ip[2] = ip[3] = 0xff;
    ip[Ipv6::hop_limit_at] = 0xff;
  }
  uint8_t* end = ip + headers_length;
  uint8_t* udp = end - Udp::length;
  udp[Udp::checksum_at] = udp[Udp::checksum_at + 1] = 0xff;
  memcpy(end, bth, Bth::length);
  end[Bth::congestion_at] = 0xff;
  return crc32_update(crc32_start, lrh, size_t(end + Bth::length - lrh));
}

uint32_t begin(const Route& route, const uint8_t* bth, size_t bytes, uint16_t identification) {
  uint8_t buffer[lrh_length + max_headers + Bth::length];
  uint8_t* ip = buffer + lrh_length;
  const auto udp_bytes = uint16_t(Udp::length + bytes + icrc_bytes);
  size_t ip_length;
  if (is_ipv4(route.destination)) {
    ip_length = Ipv4::length;
    Ipv4{0,
         uint16_t(Ipv4::length + udp_bytes),
         identification,
         Ipv4::dont_fragment,
         0,
         protocol_udp,
         ipv4_of(route.source),
         ipv4_of(route.destination)}
        .emit(ip);
  } else {
    ip_length = Ipv6::length;
    Ipv6{0, 0, udp_bytes, protocol_udp, 0, route.source, route.destination}.emit(ip);
  }
  Udp{route.source_port, roce_port, udp_bytes, 0}.emit(ip + ip_length);
  return begin(buffer, ip_length + Udp::length, bth);
}

}  // namespace

uint32_t icrc(const Route& route, std::span<const uint8_t> packet, uint16_t identification) {
  assert(packet.size() >= Bth::length);
  const uint32_t state = begin(route, packet.data(), packet.size(), identification);
  return ~crc32_update(state, packet.data() + Bth::length, packet.size() - Bth::length);
}

uint32_t icrc(const Route& route, std::span<const iovec> pieces, uint16_t identification) {
  size_t bytes = 0;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  assert(!pieces.empty() && pieces[0].iov_len >= Bth::length);
  uint32_t state =
      begin(route, static_cast<const uint8_t*>(pieces[0].iov_base), bytes, identification);
  size_t skip = Bth::length;
  for (const iovec& piece : pieces) {
    state = crc32_update(state, static_cast<const uint8_t*>(piece.iov_base) + skip,
                         piece.iov_len - skip);
    skip = 0;
  }
  return ~state;
}

uint32_t icrc_of_frame(std::span<const uint8_t> headers, std::span<const uint8_t> packet) {
  assert(headers.size() <= max_headers && packet.size() >= Bth::length);
  uint8_t buffer[lrh_length + max_headers + Bth::length];
  memcpy(buffer + lrh_length, headers.data(), headers.size());
  const uint32_t state = begin(buffer, headers.size(), packet.data());
  return ~crc32_update(state, packet.data() + Bth::length, packet.size() - Bth::length);
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
