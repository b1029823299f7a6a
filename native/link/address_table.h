// Which port of a hub a network address was last seen on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

namespace viaduct::link {

// 48 bits of an Ethernet address, in a number.
struct MacAddress {
  uint64_t value = 0;

  static MacAddress at(const uint8_t* bytes) {
    MacAddress address;
    for (int index = 0; index < 6; ++index) address.value = address.value << 8 | bytes[index];
    return address;
  }
  // IEEE 802: the lowest bit of the first byte.
  bool is_group() const { return (value >> 40 & 1) != 0; }
};

class AddressTable {
 public:
  // The table is bounded: a guest may send from any number of addresses.
  static constexpr size_t max_entries = 4096;

  void learn(MacAddress address, size_t port) {
    if (address.is_group()) return;
    if (ports_.size() >= max_entries && !ports_.contains(address.value)) ports_.clear();
    ports_[address.value] = port;
  }

  std::optional<size_t> find(MacAddress address) const {
    const auto found = ports_.find(address.value);
    if (address.is_group() || found == ports_.end()) return std::nullopt;
    return found->second;
  }

 private:
  std::unordered_map<uint64_t, size_t> ports_;
};

}  // namespace viaduct::link
