#include "softhca/network_options.h"

#include <sys/random.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace softhca {
namespace {

constexpr const char* faults_help =
    "VIADUCT_FAULTS is a list such as loss=0.05,duplication=0.02,seed=7; its names are loss, "
    "duplication, corruption, delay (rates from 0 to 1), delay-us, and seed";

// False: `value` isn't a number, or is beyond `most`.
bool read_number(const std::string& value, double most, double* into) {
  char* end = nullptr;
  const double number = strtod(value.c_str(), &end);
  if (value.empty() || *end != 0 || !(number >= 0 && number <= most)) return false;
  *into = number;
  return true;
}

bool set_fault(const std::string& name, const std::string& value, NetworkOptions* options) {
  links::FaultRates& rates = options->faults;
  if (name == "loss") return read_number(value, 1, &rates.loss);
  if (name == "duplication") return read_number(value, 1, &rates.duplication);
  if (name == "corruption") return read_number(value, 1, &rates.corruption);
  if (name == "delay") return read_number(value, 1, &rates.delay);
  if (name == "delay-us") {
    constexpr double most_us = 1e7;
    double us = 0;
    if (!read_number(value, most_us, &us)) return false;
    rates.delay_ns = uint64_t(us * 1000);
    return true;
  }
  if (name == "seed") {
    char* end = nullptr;
    options->seed = strtoull(value.c_str(), &end, 10);
    return !value.empty() && *end == 0;
  }
  return false;
}

NetworkOptions read_environment() {
  NetworkOptions options;
  const char* packets = getenv("VIADUCT_PACKETS");
  options.packets_only = packets && strcmp(packets, "1") == 0;
  if (const char* capture = getenv("VIADUCT_PCAP")) {
    options.capture = capture;
    // Each process of a program has a file of its own.
    const size_t at = options.capture.find("%p");
    if (at != std::string::npos) options.capture.replace(at, 2, std::to_string(getpid()));
  }
  if (const char* rings = getenv("VIADUCT_PACKET_RINGS")) options.rings = parse_rings(rings);
  const char* faults = getenv("VIADUCT_FAULTS");
  if (!faults || !*faults) return options;
  uint32_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) == sizeof seed) options.seed = seed;
  if (parse_faults(faults, &options))
    fprintf(stderr, "viaduct: faults of packets from seed=%llu\n",
            static_cast<unsigned long long>(options.seed));
  return options;
}

}  // namespace

bool parse_faults(const char* text, NetworkOptions* options) {
  options->has_faults = true;
  constexpr uint64_t default_delay_ns = 500000;
  options->faults.delay_ns = default_delay_ns;
  for (const char* at = text; *at;) {
    const size_t length = strcspn(at, ",");
    const std::string item(at, length);
    const size_t equals = item.find('=');
    if (equals == std::string::npos ||
        !set_fault(item.substr(0, equals), item.substr(equals + 1), options)) {
      options->problem = "'" + item + "' can't be understood: " + faults_help;
      return false;
    }
    at += length;
    if (*at == ',') ++at;
  }
  return true;
}

NetworkOptions::Rings parse_rings(const std::string& text) {
  const size_t at = text.rfind('@');
  if (at != std::string::npos) {
    const char* numbers = text.c_str() + at + 1;
    unsigned long long offset = 0, bytes = 0;
    int end = 0;
    if (sscanf(numbers, "%llu+%llu%n", &offset, &bytes, &end) == 2 && numbers[end] == 0)
      return {text.substr(0, at), offset, bytes};
  }
  return {text, 0, 0};
}

const NetworkOptions& network_options() {
  static const NetworkOptions* options = new NetworkOptions(read_environment());
  return *options;
}

}  // namespace softhca
