// The codec of the control channel: what it gives for whole, cut, broken and random bytes.
#include "guest/frame.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <random>

#include "guest/little_endian.h"

namespace viaduct::guest {
namespace {

std::vector<uint8_t> encode(FrameType type, uint32_t stream, const std::vector<uint8_t>& payload) {
  std::vector<uint8_t> bytes;
  append_frame(bytes, type, stream, payload);
  return bytes;
}

TEST(Frame, GoesThroughTheDecoderUnchanged) {
  std::vector<uint8_t> bytes = encode(FrameType::output, 0xfffffffe, {0, 255, 10, 13});
  append_frame(bytes, FrameType::exited, 7, {});
  FrameDecoder decoder;
  decoder.feed(bytes);

  const auto output = decoder.next();
  ASSERT_TRUE(output);
  EXPECT_EQ(output->type, FrameType::output);
  EXPECT_EQ(output->stream, 0xfffffffe);
  EXPECT_EQ(output->payload, (std::vector<uint8_t>{0, 255, 10, 13}));
  const auto exited = decoder.next();
  ASSERT_TRUE(exited);
  EXPECT_EQ(exited->stream, 7U);
  EXPECT_TRUE(exited->payload.empty());
  EXPECT_FALSE(decoder.next());
  EXPECT_EQ(decoder.error(), FrameError::none);
}

TEST(Frame, ComesTogetherFromSingleBytes) {
  const auto bytes = encode(FrameType::input, 3, {1, 2, 3});
  FrameDecoder decoder;
  for (size_t at = 0; at + 1 < bytes.size(); ++at) {
    decoder.feed({&bytes[at], 1});
    EXPECT_FALSE(decoder.next());
  }
  decoder.feed({&bytes.back(), 1});
  ASSERT_TRUE(decoder.next());
  EXPECT_FALSE(decoder.next());
}

TEST(Frame, OfTheGreatestLengthIsTaken) {
  FrameDecoder decoder;
  decoder.feed(encode(FrameType::exec, 1, std::vector<uint8_t>(max_payload_bytes, 9)));
  const auto frame = decoder.next();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->payload.size(), max_payload_bytes);
}

TEST(Frame, ThatIsCutIsAwaitedWithoutError) {
  auto bytes = encode(FrameType::exec, 1, std::vector<uint8_t>(100, 9));
  bytes.pop_back();
  FrameDecoder decoder;
  decoder.feed(bytes);
  EXPECT_FALSE(decoder.next());
  EXPECT_EQ(decoder.error(), FrameError::none);
}

class BrokenHeader
    : public testing::TestWithParam<std::pair<std::pair<size_t, uint8_t>, FrameError>> {};

TEST_P(BrokenHeader, IsAnErrorThatLasts) {
  const auto& [change, error] = GetParam();
  auto bytes = encode(FrameType::ping, 0, {1});
  bytes[change.first] = change.second;
  FrameDecoder decoder;
  decoder.feed(bytes);
  EXPECT_FALSE(decoder.next());
  EXPECT_EQ(decoder.error(), error);
  EXPECT_STRNE(describe(error), "");

  decoder.feed(encode(FrameType::ping, 0, {}));
  EXPECT_FALSE(decoder.next());
  EXPECT_EQ(decoder.error(), error);
}

INSTANTIATE_TEST_SUITE_P(
    Frame, BrokenHeader,
    testing::Values(std::pair{std::pair{size_t{0}, uint8_t{0}}, FrameError::magic},
                    std::pair{std::pair{size_t{1}, uint8_t{0}}, FrameError::magic},
                    std::pair{std::pair{size_t{2}, uint8_t{0}}, FrameError::type},
                    std::pair{std::pair{size_t{2}, uint8_t{200}}, FrameError::type},
                    std::pair{std::pair{size_t{3}, uint8_t{1}}, FrameError::reserved},
                    std::pair{std::pair{size_t{11}, uint8_t{255}}, FrameError::length}));

TEST(Frame, OneByteTooLongIsRefusedBeforeItsPayloadComes) {
  auto header = encode(FrameType::exec, 1, {});
  store_u32(&header[8], max_payload_bytes + 1);
  FrameDecoder decoder;
  decoder.feed(header);
  EXPECT_FALSE(decoder.next());
  EXPECT_EQ(decoder.error(), FrameError::length);
}

TEST(Frame, OfGarbageDoesNoHarm) {
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    auto bytes = encode(FrameType::output, random(), std::vector<uint8_t>(random() % 40, 7));
    append_frame(bytes, FrameType::window, random(), {});
    for (int flips = static_cast<int>(random() % 4); flips > 0; --flips) {
      bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    }
    bytes.resize(random() % (bytes.size() + 1));
    FrameDecoder decoder;
    for (size_t at = 0; at < bytes.size();) {
      const size_t piece = std::min<size_t>(bytes.size() - at, 1 + random() % 16);
      decoder.feed({&bytes[at], piece});
      at += piece;
      while (const auto frame = decoder.next()) {
        ASSERT_LE(frame->payload.size(), bytes.size()) << "seed " << seed;
      }
    }
  }
}

}  // namespace
}  // namespace viaduct::guest
