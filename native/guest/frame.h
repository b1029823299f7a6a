// Frames of the control channel between the host and the guest agent: header, limits, decoder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace viaduct::guest {

// Version of all that follows this line and of message.h; both sides must have the same.
inline constexpr uint32_t protocol_version = 2;

// Header, little-endian: magic u16, type u8, zero u8, stream u32, payload length u32.
inline constexpr size_t header_bytes = 12;
inline constexpr uint16_t frame_magic = 0x4456;
inline constexpr size_t max_payload_bytes = 1 << 20;
// A sender may have this much of one standard stream on its way before the receiver grants more.
inline constexpr uint32_t initial_window_bytes = 1 << 18;
// The host keeps so many bytes at most on the line that the agent has not read: a terminal's buffer
// is 4096, and User-Mode Linux loses the line's interrupt when it fills up.
inline constexpr uint32_t line_window_bytes = 3072;
// The agent reports at least so many at once, so that reports are few and the window stays open.
inline constexpr uint32_t received_report_bytes = 1024;

// Requests carry a stream number of the host's choice; all that answers them carries the same.
enum class FrameType : uint8_t {
  // Both ways: HelloFromHost, HelloFromAgent. The agent greets when it starts, on stream 0. Each
  // greeting of the host begins a session; one that comes later, from the host of a machine that
  // was restored or has migrated, is answered on its own stream, by which the host finds the first
  // byte that is meant for it.
  hello = 1,
  exec = 2,        // host: ExecRequest
  started = 3,     // agent: pid u32
  failed = 4,      // agent: errno u32, text; ends the request
  input = 5,       // host: bytes of standard input, none: its end; agent, none: nobody reads it
  output = 6,      // agent: bytes of standard output, none: its end
  error = 7,       // agent: bytes of standard error, none: its end
  window = 8,      // both ways: which u8 (a FrameType), bytes u32 that may follow in addition
  exited = 9,      // agent, after all output: exit status u32, signal u32
  signal = 10,     // host: number u32, for the process group of the stream
  network = 11,    // host: NetworkRequest; answered by done or failed
  done = 12,       // agent: nothing
  ping = 13,       // host; answered by pong with the same payload
  pong = 14,       // agent
  memory = 15,     // host: nothing; agent: total u64, free u64, available u64, in bytes
  power_off = 16,  // host: grace for the processes in milliseconds u32
  received = 17    // agent: bytes u32 read from the line since the last such frame
};

struct Frame {
  FrameType type;
  uint32_t stream = 0;
  std::vector<uint8_t> payload;
};

// The payload must not exceed max_payload_bytes.
void append_frame(std::vector<uint8_t>& bytes, FrameType type, uint32_t stream,
                  std::span<const uint8_t> payload);

enum class FrameError { none, magic, reserved, type, length };
const char* describe(FrameError error);

// Takes bytes in pieces of any size and gives frames. After an error the position of the next
// frame is unknown, so the decoder gives no more.
class FrameDecoder {
 public:
  void feed(std::span<const uint8_t> bytes);
  std::optional<Frame> next();
  FrameError error() const { return error_; }

 private:
  std::vector<uint8_t> buffer_;
  size_t consumed_ = 0;
  FrameError error_ = FrameError::none;
};

}  // namespace viaduct::guest
