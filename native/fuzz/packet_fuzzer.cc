// Feeds the parser of RoCEv2 packets with anything; what it takes, it writes again to the same
// bytes.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "softhca/wire/icrc.h"
#include "softhca/wire/packet.h"

// The name is the fuzzing engine's.
// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace softhca::wire;
  Packet packet;
  if (parse({data, size}, &packet) != Parsed::ok) return 0;
  std::vector<uint8_t> headers(header_length(packet.bth.opcode));
  emit_headers(packet, headers.data());
  Packet again;
  std::vector<uint8_t> bytes(data, data + size);
  std::copy(headers.begin(), headers.end(), bytes.begin());
  // Reserved bits are not kept, and nothing else is lost.
  if (parse(bytes, &again) != Parsed::ok || again.payload.size() != packet.payload.size()) abort();
  std::vector<uint8_t> headers_again(headers.size());
  emit_headers(again, headers_again.data());
  if (headers != headers_again) abort();
  Route route;
  if (size % 2) route.destination[0] = 0xfd;
  verify_icrc(route, {data, size}, std::nullopt);
  verify_icrc(route, {data, size}, 7);
  return 0;
}
