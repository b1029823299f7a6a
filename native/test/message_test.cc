// Payloads: requests that are whole are read, all others are refused.
#include "guest/message.h"

#include <gtest/gtest.h>

#include "guest/frame.h"

namespace viaduct::guest {
namespace {

std::vector<uint8_t> exec_payload() {
  PayloadWriter writer;
  writer.text("/host");
  writer.text("/tmp");
  writer.u32(2);
  writer.text("echo");
  writer.text(std::string("a\nb", 3));
  writer.u32(1);
  writer.text("PATH=/bin");
  return writer.bytes;
}

TEST(Message, ExecRequestIsRead) {
  const auto request = parse_exec(exec_payload());
  ASSERT_TRUE(request);
  EXPECT_EQ(request->root, "/host");
  EXPECT_EQ(request->cwd, "/tmp");
  EXPECT_EQ(request->arguments, (std::vector<std::string>{"echo", "a\nb"}));
  EXPECT_EQ(request->environment, (std::vector<std::string>{"PATH=/bin"}));
}

TEST(Message, ExecRequestCutAnywhereIsRefused) {
  const auto whole = exec_payload();
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(parse_exec({whole.data(), length})) << length;
  }
}

TEST(Message, ExecRequestWithMoreBehindItIsRefused) {
  auto payload = exec_payload();
  payload.push_back(0);
  EXPECT_FALSE(parse_exec(payload));
}

TEST(Message, ExecRequestWithoutProgramIsRefused) {
  PayloadWriter writer;
  writer.text("/");
  writer.text("/");
  writer.u32(0);
  writer.u32(0);
  EXPECT_FALSE(parse_exec(writer.bytes));
}

TEST(Message, CountBeyondThePayloadIsRefusedWithoutMemoryForIt) {
  PayloadWriter writer;
  writer.text("/");
  writer.text("/");
  writer.u32(0xffffffff);
  EXPECT_FALSE(parse_exec(writer.bytes));
}

TEST(Message, TextLongerThanThePayloadIsRefused) {
  PayloadWriter writer;
  writer.u32(0xffffffff);
  writer.u8('x');
  EXPECT_FALSE(parse_hello(writer.bytes));
}

TEST(Message, HelloOfAnotherVersionGivesTheVersionWhateverFollows) {
  PayloadWriter writer;
  writer.text("viaduct");
  writer.u32(protocol_version + 1);
  writer.u8(200);
  const auto hello = parse_hello(writer.bytes);
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->version, protocol_version + 1);
}

TEST(Message, HelloOfAnotherProtocolIsRefused) {
  PayloadWriter writer;
  writer.text("aqueduct");
  writer.u32(protocol_version);
  writer.text("");
  EXPECT_FALSE(parse_hello(writer.bytes));
}

TEST(Message, NetworkPrefixBeyond32IsRefused) {
  PayloadWriter writer;
  writer.text("vec0");
  writer.u32(0x0a560001);
  writer.u32(33);
  writer.u32(0);
  EXPECT_FALSE(parse_network(writer.bytes));
}

}  // namespace
}  // namespace viaduct::guest
