// What the environment asks of packets (viaduct exec has options for it).
#pragma once

#include <cstdint>
#include <string>

#include "softhca/links/faults.h"

namespace softhca {

struct NetworkOptions {
  bool packets_only = false;  // VIADUCT_PACKETS=1: also within this host
  std::string capture;        // VIADUCT_PCAP: a file for what passes; %p in it: the process
  // VIADUCT_FAULTS: what to do to packets that are sent
  bool has_faults = false;
  links::FaultRates faults;
  uint64_t seed = 0;
  // VIADUCT_PACKET_RINGS=FILE or FILE@OFFSET+BYTES: where an aperture's rings of packets are.
  struct Rings {
    std::string file;  // empty: none
    uint64_t offset = 0;
    uint64_t bytes = 0;  // 0: all that the file has
  } rings;
  std::string problem;  // what is wrong with VIADUCT_FAULTS
};

// Read once.
const NetworkOptions& network_options();

// For tests. `text` is as in VIADUCT_FAULTS: name=value, separated by commas.
bool parse_faults(const char* text, NetworkOptions* options);
NetworkOptions::Rings parse_rings(const std::string& text);

}  // namespace softhca
