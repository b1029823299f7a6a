#include "softhca/gid_table.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "softhca/device.h"
#include "softhca/wire/ipv4.h"
#include "softhca/wire/ipv6.h"
#include "softhca/wire/packet.h"
#include "softhca/wire/udp.h"

namespace softhca {
namespace {

bool same(const ibv_gid& one, const ibv_gid& other) {
  return memcmp(one.raw, other.raw, sizeof one.raw) == 0;
}

struct Found {
  GidEntry entry;
  int rank;  // programs send from the first
};

uint32_t mtu_of_interface(const char* name) {
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return 0;
  ifreq request{};
  strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
  const bool known = ioctl(descriptor, SIOCGIFMTU, &request) == 0;
  close(descriptor);
  return known ? uint32_t(request.ifr_mtu) : 0;
}

// What other hosts can reach comes first, IPv4 before IPv6, as programs and rxe have it.
std::vector<Found> host_addresses() {
  std::vector<Found> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  std::map<std::string, uint32_t> mtus;
  for (const ifaddrs* each = list; each; each = each->ifa_next) {
    if (!each->ifa_addr || !(each->ifa_flags & IFF_UP)) continue;
    GidEntry entry{};
    const bool ipv4 = each->ifa_addr->sa_family == AF_INET;
    bool link_local = false;
    if (ipv4) {
      const auto& address = reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr;
      entry.gid.raw[10] = entry.gid.raw[11] = 0xff;
      memcpy(entry.gid.raw + 12, &address, 4);
    } else if (each->ifa_addr->sa_family == AF_INET6) {
      const auto& address = reinterpret_cast<const sockaddr_in6*>(each->ifa_addr)->sin6_addr;
      link_local = IN6_IS_ADDR_LINKLOCAL(&address);
      memcpy(entry.gid.raw, &address, sizeof entry.gid.raw);
    } else {
      continue;
    }
    entry.interface = if_nametoindex(each->ifa_name);
    if (!mtus.contains(each->ifa_name)) mtus[each->ifa_name] = mtu_of_interface(each->ifa_name);
    entry.mtu_bytes = largest_mtu(mtus[each->ifa_name], ipv4);
    if (entry.interface == 0 || entry.mtu_bytes == 0) continue;
    const bool loopback = each->ifa_flags & IFF_LOOPBACK;
    found.push_back({entry, 4 * loopback + 2 * link_local + !ipv4});
  }
  freeifaddrs(list);
  std::stable_sort(found.begin(), found.end(),
                   [](const Found& one, const Found& other) { return one.rank < other.rank; });
  return found;
}

struct Table {
  std::mutex mutex;
  bool filled = false;
  std::vector<std::optional<GidEntry>> entries;
  std::optional<ibv_gid> in_rings;
  // The address that programs send from unless told otherwise.
  uint32_t mtu_bytes = 0;
};

Table& the_table() {
  static Table* table = new Table;  // outlives static destruction: threads may be running
  return *table;
}

void refresh(Table& table) {
  table.entries.resize(gid_table_length);
  for (uint32_t i = 0; i < own_gid_count; ++i) table.entries[i] = {own_gid(i), 0, mtu_bytes};
  table.filled = true;
  table.mtu_bytes = mtu_bytes;
  if (!is_ethernet()) return;
  const std::vector<Found> addresses = host_addresses();
  const uint32_t first = own_gid_count + (table.in_rings ? 1 : 0);
  if (table.in_rings) table.entries[own_gid_count] = {*table.in_rings, 0, mtu_bytes, true};
  for (uint32_t i = first; i < gid_table_length; ++i) {
    auto& entry = table.entries[i];
    if (!entry) continue;
    const auto still = std::find_if(addresses.begin(), addresses.end(), [&](const Found& each) {
      return same(each.entry.gid, entry->gid);
    });
    if (still == addresses.end()) {
      entry.reset();
    } else {
      entry = still->entry;
    }
  }
  for (const Found& each : addresses) {
    const auto known = std::find_if(table.entries.begin(), table.entries.end(), [&](auto& entry) {
      return entry && same(entry->gid, each.entry.gid);
    });
    const auto room = std::find_if(table.entries.begin(), table.entries.end(),
                                   [](auto& entry) { return !entry; });
    if (known == table.entries.end() && room != table.entries.end()) *room = each.entry;
  }
  if (!addresses.empty() && !table.in_rings) table.mtu_bytes = addresses.front().entry.mtu_bytes;
}

template <typename Look>
auto look(Look&& look) {
  Table& table = the_table();
  const std::lock_guard guard(table.mutex);
  if (!table.filled) refresh(table);
  return look(table);
}

}  // namespace

void set_rings_gid(const ibv_gid& gid) {
  Table& table = the_table();
  const std::lock_guard guard(table.mutex);
  table.in_rings = gid;
  table.filled = false;
}

void refresh_gids() {
  Table& table = the_table();
  const std::lock_guard guard(table.mutex);
  refresh(table);
}

std::optional<GidEntry> gid_at(uint32_t index) {
  return look([&](const Table& table) {
    return index < table.entries.size() ? table.entries[index] : std::nullopt;
  });
}

int index_of_gid(const ibv_gid& gid) {
  return look([&](const Table& table) {
    for (size_t i = 0; i < table.entries.size(); ++i)
      if (table.entries[i] && same(table.entries[i]->gid, gid)) return int(i);
    return -1;
  });
}

std::vector<std::pair<uint32_t, GidEntry>> all_gids() {
  return look([](const Table& table) {
    std::vector<std::pair<uint32_t, GidEntry>> all;
    for (uint32_t i = 0; i < table.entries.size(); ++i)
      if (table.entries[i]) all.emplace_back(i, *table.entries[i]);
    return all;
  });
}

uint32_t port_mtu_bytes() {
  return look([](const Table& table) { return table.mtu_bytes; });
}

uint32_t largest_mtu(uint32_t interface_mtu, bool ipv4) {
  const uint32_t headers =
      uint32_t((ipv4 ? wire::Ipv4::length : wire::Ipv6::length) + wire::Udp::length +
               wire::max_header_length + wire::icrc_length);
  constexpr uint32_t least = 256;  // that of ibv_mtu
  if (interface_mtu < headers + least) return 0;
  return std::min(std::bit_floor(interface_mtu - headers), mtu_bytes);
}

ibv_mtu mtu_code(uint32_t bytes) {
  return ibv_mtu(std::countr_zero(bytes) - std::countr_zero(128U));
}

std::string gid_text(const ibv_gid& gid) {
  char text[INET6_ADDRSTRLEN];
  const bool ipv4 = wire::is_ipv4(to_wire(gid));
  inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? gid.raw + 12 : gid.raw, text, sizeof text);
  return text;
}

std::string gid_table_text() {
  std::string text;
  for (const auto& [index, entry] : all_gids()) {
    if (!entry.leads_out()) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(index) + ": " + gid_text(entry.gid);
  }
  return text.empty() ? "no address" : text;
}

}  // namespace softhca
