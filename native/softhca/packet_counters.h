// What became of packets, as each process shows it in its segment.
#pragma once

#include "softhca/extensions.h"
#include "softhca/host.h"
#include "softhca/links/ports.h"
#include "softhca/transport/counters.h"

namespace softhca {

void publish_packet_counters(WireShared& shared, const transport::Counters& engine,
                             const links::PortCounts& ports);

// nullptr: there is no such counter.
const char* packet_counter_name(uint32_t index);
uint32_t query_packet_counters(Host& host, viaduct_packet_counters* list, uint32_t room);

}  // namespace softhca
