// Runs a fuzzer's target without the fuzzing engine: random changes of valid frames, from a printed
// seed, so that each run of the native tests tries some under their sanitizers.
//
//   frame_random_inputs [COUNT [SEED]]
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "guest/frame.h"
#include "guest/message.h"

// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using namespace viaduct::guest;

std::vector<uint8_t> valid_frames() {
  PayloadWriter hello;
  hello.text(hello_magic);
  hello.u32(protocol_version);
  hello.text("guest");
  PayloadWriter exec;
  exec.text("/host");
  exec.text("/");
  exec.u32(2);
  exec.text("echo");
  exec.text("hello");
  exec.u32(1);
  exec.text("PATH=/bin");
  PayloadWriter network;
  network.text("eth0");
  network.u32(0x0a560001);
  network.u32(24);
  network.u32(1500);
  // The first byte says where the target cuts its input.
  std::vector<uint8_t> bytes = {0};
  append_frame(bytes, FrameType::hello, 1, hello.bytes);
  append_frame(bytes, FrameType::exec, 2, exec.bytes);
  append_frame(bytes, FrameType::network, 3, network.bytes);
  append_frame(bytes, FrameType::input, 2, {});
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  const long count = argc > 1 ? strtol(argv[1], nullptr, 10) : 20'000;
  const auto seed =
      argc > 2 ? static_cast<uint32_t>(strtoul(argv[2], nullptr, 10)) : std::random_device()();
  printf("%ld inputs from seed %u\n", count, seed);
  fflush(stdout);
  std::mt19937 random(seed);
  const auto below = [&](size_t limit) { return random() % limit; };
  const std::vector<uint8_t> valid = valid_frames();
  for (long round = 0; round < count; ++round) {
    std::vector<uint8_t> input = valid;
    input[0] = static_cast<uint8_t>(random());
    for (size_t changes = below(6); changes > 0; --changes) {
      input[below(input.size())] = static_cast<uint8_t>(random());
    }
    input.resize(1 + below(input.size()));
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  return 0;
}
