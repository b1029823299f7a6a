#include "guest/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <utility>

#include "guest/message.h"

namespace viaduct::guest {

namespace {

constexpr int appearance_timeout_ms = 10'000;

// poll(2) reports POLLHUP for a port that is not connected, and waits for nothing then.
bool is_connected(int port) {
  pollfd state = {.fd = port, .events = POLLOUT, .revents = 0};
  return poll(&state, 1, 0) >= 0 && (state.revents & POLLHUP) == 0;
}

}  // namespace

bool Channel::open(const char* path) {
  for (int waited_ms = 0;; ++waited_ms) {
    if (!line_.is_open()) {
      line_ = Descriptor(::open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    }
    if (line_.is_open() && is_connected(line_.number())) break;
    if (waited_ms == appearance_timeout_ms) {
      if (line_.is_open()) errno = ENOTCONN;
      return false;
    }
    usleep(1000);
  }
  if (isatty(line_.number()) == 0) return true;
  termios settings = {};
  if (tcgetattr(line_.number(), &settings) != 0) return false;
  cfmakeraw(&settings);
  settings.c_cflag |= CREAD | CLOCAL;
  return tcsetattr(line_.number(), TCSANOW, &settings) == 0;
}

bool Channel::receive() {
  uint8_t bytes[16384];
  const ssize_t count = read(line_.number(), bytes, sizeof bytes);
  if (count == 0) return false;
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  decoder_.feed({bytes, static_cast<size_t>(count)});
  unreported_bytes_ += static_cast<uint32_t>(count);
  if (unreported_bytes_ >= received_report_bytes) {
    PayloadWriter report;
    report.u32(std::exchange(unreported_bytes_, 0));
    send(FrameType::received, 0, report.bytes);
  }
  return true;
}

void Channel::send(FrameType type, uint32_t stream, std::span<const uint8_t> payload) {
  outgoing_.clear();
  append_frame(outgoing_, type, stream, payload);
  for (size_t sent = 0; sent < outgoing_.size();) {
    const ssize_t count = write(line_.number(), &outgoing_[sent], outgoing_.size() - sent);
    if (count > 0) {
      sent += static_cast<size_t>(count);
    } else if (count < 0 && errno == EAGAIN) {
      pollfd room = {.fd = line_.number(), .events = POLLOUT, .revents = 0};
      poll(&room, 1, -1);
    } else if (count < 0 && errno != EINTR) {
      // The line is gone and with it the host's interest; receive() tells the agent.
      return;
    }
  }
}

void Channel::drain() {
  if (isatty(line_.number()) != 0) tcdrain(line_.number());
}

}  // namespace viaduct::guest
