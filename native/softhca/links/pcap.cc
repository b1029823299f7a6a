#include "softhca/links/pcap.h"

#include "softhca/links/ip_frame.h"
#include "softhca/wire/icrc.h"
#include "softhca/wire/packet.h"

namespace softhca::links {
namespace {

// The PCAP Next Generation format (draft-ietf-opsawg-pcapng).
constexpr uint32_t section_header = 0x0a0d0d0a, interface_description = 1, enhanced_packet = 6;
constexpr uint32_t byte_order = 0x1a2b3c4d;
constexpr uint32_t version_1_0 = 1;
constexpr uint32_t link_type_raw = 101;  // begins with the IP header
// Options: code and length, then the value.
constexpr uint32_t end_of_options = 0;
constexpr uint32_t time_resolution = 9 | 1 << 16, nanoseconds = 9;
constexpr uint32_t packet_flags = 2 | 4 << 16;

}  // namespace

std::unique_ptr<Pcap> Pcap::open(Link& link, const std::string& path) {
  File file(fopen(path.c_str(), "wbe"));
  if (!file) return nullptr;
  return std::unique_ptr<Pcap>(new Pcap(link, std::move(file)));
}

Pcap::Pcap(Link& link, File file) : link_(link), file_(std::move(file)) {
  constexpr uint32_t unknown = 0xffffffff;  // length of the section, in two halves
  for (const uint32_t word : {section_header, 28U, byte_order, version_1_0, unknown, unknown, 28U})
    write_word(word);
  constexpr uint32_t no_limit = 0;
  for (const uint32_t word : {interface_description, 32U, link_type_raw, no_limit, time_resolution,
                              nanoseconds, end_of_options, 32U})
    write_word(word);
}

void Pcap::write(const void* data, size_t bytes) {
  whole_ = fwrite(data, 1, bytes, file_.get()) == bytes && whole_;
}

void Pcap::write_packet(const Datagram& packet, Way way) {
  uint16_t identification = packet.identification.value_or(0);
  const size_t covered = packet.bytes.size() - wire::icrc_length;
  if (!packet.identification && packet.bytes.size() > wire::Bth::length + wire::icrc_length) {
    // That which makes the ICRC right, as Wireshark looks at it.
    const uint32_t change = wire::load_icrc(packet.bytes.data() + covered) ^
                            wire::icrc(packet.route, packet.bytes.first(covered));
    identification = wire::identification_behind(change, covered).value_or(0);
  }
  uint8_t headers[max_frame_headers];
  const size_t header_bytes =
      emit_frame_headers(packet.route, packet.bytes.size(), identification, headers);
  const auto bytes = uint32_t(header_bytes + packet.bytes.size());
  const uint32_t padding = -bytes & 3, zero = 0;
  const uint32_t block = 28 + bytes + padding + 12 + 4;
  constexpr uint32_t interface = 0;
  for (const uint32_t word : {enhanced_packet, block, interface, uint32_t(now_ns_ >> 32),
                              uint32_t(now_ns_), bytes, bytes})
    write_word(word);
  write(headers, header_bytes);
  write(packet.bytes.data(), packet.bytes.size());
  write(&zero, padding);
  for (const uint32_t word : {packet_flags, uint32_t(way), end_of_options, block}) write_word(word);
}

uint8_t* Pcap::reserve(const Route& route, size_t bytes) {
  route_ = route;
  reserved_bytes_ = bytes;
  return reserved_ = link_.reserve(route, bytes);
}

void Pcap::send() {
  write_packet({route_, {reserved_, reserved_bytes_}, 0}, Way::out);
  link_.send();
}

void Pcap::flush(uint64_t now_ns) {
  now_ns_ = now_ns;
  link_.flush(now_ns);
  whole_ = fflush(file_.get()) == 0 && whole_;
}

size_t Pcap::receive(std::span<Datagram> into, uint64_t now_ns) {
  now_ns_ = now_ns;
  const size_t count = link_.receive(into, now_ns);
  for (const Datagram& packet : into.first(count)) write_packet(packet, Way::in);
  return count;
}

}  // namespace softhca::links
