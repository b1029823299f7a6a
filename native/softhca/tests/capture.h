// Reads RoCEv2 packets from a capture file (pcap, Ethernet).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "softhca/wire/route.h"

namespace softhca::test {

struct CapturedPacket {
  std::vector<uint8_t> headers;  // IP and UDP
  std::vector<uint8_t> bytes;    // BTH to ICRC
  wire::Route route;
  std::optional<uint16_t> identification;  // of IPv4
  uint64_t time_ns;
};

// Those to UDP port 4791; the rest of the capture is left out.
std::vector<CapturedPacket> read_capture(const std::string& path);

// The captures of test/data/rxe-pcaps.
std::vector<std::string> golden_captures();
std::vector<CapturedPacket> read_golden(const std::string& name);

}  // namespace softhca::test
