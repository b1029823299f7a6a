#include "guest/frame.h"

#include <cassert>

#include "guest/little_endian.h"

namespace viaduct::guest {

void append_frame(std::vector<uint8_t>& bytes, FrameType type, uint32_t stream,
                  std::span<const uint8_t> payload) {
  assert(payload.size() <= max_payload_bytes);
  const size_t at = bytes.size();
  bytes.resize(at + header_bytes);
  store_u16(&bytes[at], frame_magic);
  bytes[at + 2] = static_cast<uint8_t>(type);
  bytes[at + 3] = 0;
  store_u32(&bytes[at + 4], stream);
  store_u32(&bytes[at + 8], static_cast<uint32_t>(payload.size()));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
}

const char* describe(FrameError error) {
  switch (error) {
    case FrameError::none:
      return "no error";
    case FrameError::magic:
      return "a frame does not start with the magic number";
    case FrameError::reserved:
      return "a reserved byte is not zero";
    case FrameError::type:
      return "unknown frame type";
    case FrameError::length:
      return "a frame is longer than the limit";
  }
  return "unknown error";
}

void FrameDecoder::feed(std::span<const uint8_t> bytes) {
  if (error_ != FrameError::none) return;
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(consumed_));
  consumed_ = 0;
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

std::optional<Frame> FrameDecoder::next() {
  if (error_ != FrameError::none || buffer_.size() - consumed_ < header_bytes) return std::nullopt;
  const uint8_t* header = &buffer_[consumed_];
  const uint8_t type = header[2];
  const size_t length = load_u32(header + 8);
  if (load_u16(header) != frame_magic) {
    error_ = FrameError::magic;
  } else if (header[3] != 0) {
    error_ = FrameError::reserved;
  } else if (type < static_cast<uint8_t>(FrameType::hello) ||
             type > static_cast<uint8_t>(FrameType::received)) {
    error_ = FrameError::type;
  } else if (length > max_payload_bytes) {
    error_ = FrameError::length;
  }
  if (error_ != FrameError::none) {
    buffer_.clear();
    consumed_ = 0;
    return std::nullopt;
  }
  if (buffer_.size() - consumed_ - header_bytes < length) return std::nullopt;
  Frame frame{static_cast<FrameType>(type), load_u32(header + 4), {}};
  frame.payload.assign(header + header_bytes, header + header_bytes + length);
  consumed_ += header_bytes + length;
  return frame;
}

}  // namespace viaduct::guest
