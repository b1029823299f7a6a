// Feeds the codec of the control channel with anything: frames, and the requests in them.
#include <cstddef>
#include <cstdint>

#include "guest/frame.h"
#include "guest/message.h"

// The name is the fuzzing engine's.
// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace viaduct::guest;
  FrameDecoder decoder;
  // The first byte says where the input is cut, since frames come in pieces.
  const size_t cut = size == 0 ? 0 : data[0] % size;
  for (const auto piece : {std::span(data, cut), std::span(data + cut, size - cut)}) {
    decoder.feed(piece);
    while (const auto frame = decoder.next()) {
      parse_hello(frame->payload);
      parse_exec(frame->payload);
      parse_network(frame->payload);
    }
  }
  parse_exec({data, size});
  parse_network({data, size});
  return 0;
}
