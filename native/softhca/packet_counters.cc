#include "softhca/packet_counters.h"

#include <algorithm>
#include <iterator>

#include "softhca/rendezvous.h"

namespace softhca {
namespace {

using transport::Counters;

// After those of the engine.
constexpr struct {
  const char* name;
  uint64_t links::PortCounts::*member;
} of_ports[] = {
    {"bytes_received", &links::PortCounts::bytes_received},
    {"bytes_sent", &links::PortCounts::bytes_sent},
    {"packets_handed_on", &links::PortCounts::handed_on},
    {"packets_for_nobody", &links::PortCounts::for_nobody},
    {"packets_not_sent", &links::PortCounts::refused},
    {"ring_slots_malformed", &links::PortCounts::malformed},
};
constexpr size_t counters = Counters::count + std::size(of_ports);
static_assert(counters <= max_wire_counters);
static_assert(std::size(viaduct_packet_counters{}.values) == max_wire_counters);

}  // namespace

void publish_packet_counters(WireShared& shared, const Counters& engine,
                             const links::PortCounts& ports) {
  for (size_t i = 0; i < Counters::count; ++i)
    shared.counters[i].store(engine[transport::Counter(i)], std::memory_order_relaxed);
  for (size_t i = 0; i < std::size(of_ports); ++i)
    shared.counters[Counters::count + i].store(ports.*of_ports[i].member,
                                               std::memory_order_relaxed);
}

const char* packet_counter_name(uint32_t index) {
  if (index < Counters::count) return transport::counter_names[index];
  return index < counters ? of_ports[index - Counters::count].name : nullptr;
}

uint32_t query_packet_counters(Host& host, viaduct_packet_counters* list, uint32_t room) {
  uint32_t count = 0;
  for (const uint32_t slot : live_slots()) {
    const auto site = host.reach(slot);
    if (!site) continue;
    if (count < room) {
      viaduct_packet_counters& each = list[count] = {};
      each.pid = site->pid;
      for (size_t i = 0; i < counters; ++i)
        each.values[i] = site->segment->wire.counters[i].load(std::memory_order_relaxed);
    }
    ++count;
  }
  return count;
}

}  // namespace softhca
