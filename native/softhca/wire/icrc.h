// The invariant CRC that ends every packet (InfiniBand Vol. 1, 7.8.1; annex A17).
//
// A CRC-32 over eight bytes of ones in place of the LRH, the IP and UDP headers, and the packet, in
// which fields that routers may change count as ones. IPv4's identification is not among them,
// although a UDP socket neither sets nor shows it; a link says what it knows.
#pragma once

#include <sys/uio.h>

#include <optional>
#include <span>

#include "softhca/wire/route.h"

namespace softhca::wire {

// Of the packet without its ICRC, which begins with the BTH; for IPv4 with the don't-fragment flag.
// `pieces` may be cut anywhere after the BTH.
uint32_t icrc(const Route& route, std::span<const iovec> pieces, uint16_t identification = 0);
uint32_t icrc(const Route& route, std::span<const uint8_t> packet, uint16_t identification = 0);

// The same over headers as they were received: `headers` are those of IP and UDP.
uint32_t icrc_of_frame(std::span<const uint8_t> headers, std::span<const uint8_t> packet);

// What to add (exclusive or) to the ICRC of a packet of `bytes` without it, for identification 0,
// to get that for another.
uint32_t icrc_change(uint16_t identification, size_t bytes);
// And back: the identification that explains a wrong ICRC, if one does. For a packet damaged at
// random, one does in 2^16 cases out of 2^32.
std::optional<uint16_t> identification_behind(uint32_t change, size_t bytes);

// In the last four bytes of a packet; least significant byte first.
void store_icrc(uint8_t* to, uint32_t value);
uint32_t load_icrc(const uint8_t* from);

// Whether the packet, with its ICRC, came by that route undamaged. Without an identification,
// any will do.
bool verify_icrc(const Route& route, std::span<const uint8_t> packet,
                 std::optional<uint16_t> identification);

}  // namespace softhca::wire
