#include "softhca/tests/capture.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "softhca/wire/ipv4.h"
#include "softhca/wire/ipv6.h"
#include "softhca/wire/udp.h"

namespace softhca::test {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t ethernet_length = 14;

std::optional<CapturedPacket> decode(Bytes frame) {
  if (frame.size() < ethernet_length) return std::nullopt;
  const uint16_t ether_type = wire::load_be16(&frame[12]);
  const Bytes ip = frame.subspan(ethernet_length);
  CapturedPacket packet{};
  size_t ip_length = 0, ip_bytes = 0;
  uint8_t protocol = 0;
  if (ether_type == 0x0800 && wire::Ipv4::check_length(ip)) {
    const auto header = wire::Ipv4::parse(ip.data());
    ip_length = wire::Ipv4::length;
    ip_bytes = header.bytes;
    protocol = header.protocol;
    packet.identification = header.identification;
    packet.route.source = wire::ipv4_gid(header.source);
    packet.route.destination = wire::ipv4_gid(header.destination);
    packet.route.traffic_class = header.type_of_service;
    packet.route.hop_limit = header.time_to_live;
  } else if (ether_type == 0x86dd && wire::Ipv6::check_length(ip)) {
    const auto header = wire::Ipv6::parse(ip.data());
    ip_length = wire::Ipv6::length;
    ip_bytes = ip_length + header.bytes;
    protocol = header.next_header;
    packet.route.source = header.source;
    packet.route.destination = header.destination;
    packet.route.traffic_class = header.traffic_class;
    packet.route.hop_limit = header.hop_limit;
    packet.route.flow_label = header.flow_label;
  }
  const size_t headers = ip_length + wire::Udp::length;
  if (protocol != wire::protocol_udp || ip_bytes < headers || ip.size() < ip_bytes)
    return std::nullopt;
  const auto udp = wire::Udp::parse(&ip[ip_length]);
  if (udp.destination_port != wire::roce_port) return std::nullopt;
  packet.route.source_port = udp.source_port;
  packet.headers.assign(ip.begin(), ip.begin() + ptrdiff_t(headers));
  packet.bytes.assign(ip.begin() + ptrdiff_t(headers), ip.begin() + ptrdiff_t(ip_bytes));
  return packet;
}

}  // namespace

std::vector<CapturedPacket> read_capture(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  const std::vector<char> text((std::istreambuf_iterator<char>(file)), {});
  const Bytes bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  struct Record {
    uint32_t seconds, microseconds, captured, length;
  };
  constexpr size_t file_header = 24;
  std::vector<CapturedPacket> packets;
  for (size_t at = file_header; at + sizeof(Record) <= bytes.size();) {
    Record record;
    memcpy(&record, &bytes[at], sizeof record);
    at += sizeof record;
    if (auto packet = decode(bytes.subspan(at, record.captured))) {
      packet->time_ns = record.seconds * 1'000'000'000ULL + record.microseconds * 1000ULL;
      packets.push_back(std::move(*packet));
    }
    at += record.captured;
  }
  return packets;
}

std::vector<std::string> golden_captures() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(GOLDEN_CAPTURES)) {
    if (entry.path().extension() == ".pcap") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<CapturedPacket> read_golden(const std::string& name) {
  return read_capture(std::string(GOLDEN_CAPTURES) + "/" + name + ".pcap");
}

}  // namespace softhca::test
