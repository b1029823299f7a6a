// Payloads of the frames that carry more than bytes. Text is its length u32 and its bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace viaduct::guest {

inline constexpr char hello_magic[] = "viaduct";

// text "viaduct", version u32, text host name of the guest
struct HelloFromHost {
  uint32_t version = 0;
  std::string name;
};

// A command that a former host started: stream u32, pid u32, bytes u32 of its input that it has not
// taken yet. Its windows of output are as new.
struct RunningCommand {
  uint32_t stream = 0;
  uint32_t pid = 0;
  uint32_t pending_input_bytes = 0;
};

// text "viaduct", version u32, text kernel release, count u32 and so many RunningCommands
struct HelloFromAgent {
  uint32_t version = 0;
  std::string kernel;
  std::vector<RunningCommand> commands;
};

// text root directory, text working directory in it, list of arguments, list of NAME=value
struct ExecRequest {
  std::string root;
  std::string cwd;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
};

// text interface, address u32 (first byte of the dotted form is the highest), prefix u32, MTU u32
// (0: as it is)
struct NetworkRequest {
  std::string interface;
  uint32_t address = 0;
  uint32_t prefix = 0;
  uint32_t mtu = 0;
};

// Nothing if the payload is too short, too long, or no such message.
std::optional<HelloFromHost> parse_hello(std::span<const uint8_t> payload);
std::optional<ExecRequest> parse_exec(std::span<const uint8_t> payload);
std::optional<NetworkRequest> parse_network(std::span<const uint8_t> payload);

std::vector<uint8_t> encode(const HelloFromAgent& hello);

class PayloadWriter {
 public:
  void u8(uint8_t value);
  void u32(uint32_t value);
  void u64(uint64_t value);
  void text(const std::string& value);
  std::vector<uint8_t> bytes;
};

// Reads past the end give zeros and make complete() false.
class PayloadReader {
 public:
  explicit PayloadReader(std::span<const uint8_t> payload) : rest_(payload) {}
  uint8_t u8();
  uint32_t u32();
  std::string text();
  std::vector<std::string> list();
  // All was there and nothing is left over.
  bool complete() const { return !failed_ && rest_.empty(); }

 private:
  std::span<const uint8_t> take(size_t bytes);

  std::span<const uint8_t> rest_;
  bool failed_ = false;
};

}  // namespace viaduct::guest
