#include "guest/message.h"

#include "guest/frame.h"
#include "guest/little_endian.h"

namespace viaduct::guest {

void PayloadWriter::u8(uint8_t value) { bytes.push_back(value); }

void PayloadWriter::u32(uint32_t value) {
  bytes.resize(bytes.size() + 4);
  store_u32(&bytes[bytes.size() - 4], value);
}

void PayloadWriter::u64(uint64_t value) {
  bytes.resize(bytes.size() + 8);
  store_u64(&bytes[bytes.size() - 8], value);
}

void PayloadWriter::text(const std::string& value) {
  u32(static_cast<uint32_t>(value.size()));
  bytes.insert(bytes.end(), value.begin(), value.end());
}

std::span<const uint8_t> PayloadReader::take(size_t bytes) {
  if (failed_ || rest_.size() < bytes) {
    failed_ = true;
    return {};
  }
  const std::span<const uint8_t> taken = rest_.first(bytes);
  rest_ = rest_.subspan(bytes);
  return taken;
}

uint8_t PayloadReader::u8() {
  const auto bytes = take(1);
  return bytes.empty() ? 0 : bytes[0];
}

uint32_t PayloadReader::u32() {
  const auto bytes = take(4);
  return bytes.empty() ? 0 : load_u32(bytes.data());
}

std::string PayloadReader::text() {
  const auto bytes = take(u32());
  return std::string(bytes.begin(), bytes.end());
}

std::vector<std::string> PayloadReader::list() {
  std::vector<std::string> texts;
  // The count is not trusted: each text takes at least its length, so the payload bounds the loop.
  for (uint32_t left = u32(); left > 0 && !failed_; --left) texts.push_back(text());
  return texts;
}

std::optional<HelloFromHost> parse_hello(std::span<const uint8_t> payload) {
  PayloadReader reader(payload);
  if (reader.text() != hello_magic) return std::nullopt;
  HelloFromHost hello;
  hello.version = reader.u32();
  // What follows the version belongs to it; the caller checks the version first.
  if (hello.version != protocol_version) return hello;
  hello.name = reader.text();
  if (!reader.complete()) return std::nullopt;
  return hello;
}

std::optional<ExecRequest> parse_exec(std::span<const uint8_t> payload) {
  PayloadReader reader(payload);
  ExecRequest request;
  request.root = reader.text();
  request.cwd = reader.text();
  request.arguments = reader.list();
  request.environment = reader.list();
  if (!reader.complete() || request.arguments.empty()) return std::nullopt;
  return request;
}

std::optional<NetworkRequest> parse_network(std::span<const uint8_t> payload) {
  PayloadReader reader(payload);
  NetworkRequest request;
  request.interface = reader.text();
  request.address = reader.u32();
  request.prefix = reader.u32();
  request.mtu = reader.u32();
  if (!reader.complete() || request.prefix > 32) return std::nullopt;
  return request;
}

std::vector<uint8_t> encode(const HelloFromAgent& hello) {
  PayloadWriter writer;
  writer.text(hello_magic);
  writer.u32(hello.version);
  writer.text(hello.kernel);
  writer.u32(static_cast<uint32_t>(hello.commands.size()));
  for (const RunningCommand& command : hello.commands) {
    writer.u32(command.stream);
    writer.u32(command.pid);
    writer.u32(command.pending_input_bytes);
  }
  return std::move(writer.bytes);
}

}  // namespace viaduct::guest
