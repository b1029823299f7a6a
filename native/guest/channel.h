// The control channel: a serial line or virtio port to the host that carries frames and nothing
// else.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "guest/descriptor.h"
#include "guest/frame.h"

namespace viaduct::guest {

class Channel {
 public:
  // Opens the line and makes it transparent to all bytes; false leaves errno. The device of a
  // virtio port appears, and becomes connected, a moment after its driver was loaded.
  bool open(const char* path);

  int descriptor() const { return line_.number(); }

  // Takes what has arrived, without waiting; false when the host has closed the line.
  bool receive();
  std::optional<Frame> next() { return decoder_.next(); }
  FrameError error() const { return decoder_.error(); }

  // A new host has taken over: what the former one has not been told of is not the new one's.
  void restart() { unreported_bytes_ = 0; }

  // Waits while the line is full. The host always reads, so it doesn't stay full.
  void send(FrameType type, uint32_t stream, std::span<const uint8_t> payload = {});
  // Waits until the host has all that was sent.
  void drain();

 private:
  Descriptor line_;
  FrameDecoder decoder_;
  uint32_t unreported_bytes_ = 0;
  std::vector<uint8_t> outgoing_;
};

}  // namespace viaduct::guest
