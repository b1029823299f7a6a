// A command that the host asked for: how it is started, and its standard streams on this side.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "guest/descriptor.h"
#include "guest/frame.h"
#include "guest/message.h"

namespace viaduct::guest {

// One of a command's output streams: the pipe it comes from and what the host will take of it.
struct OutputStream {
  FrameType type;
  Descriptor pipe;
  uint64_t window_bytes = initial_window_bytes;
};

struct Process {
  pid_t pid = -1;
  Descriptor input;
  std::vector<uint8_t> pending_input;
  // The host has no more input; the pipe closes when what is pending is written.
  bool input_ended = false;
  OutputStream output{FrameType::output, {}};
  OutputStream error{FrameType::error, {}};
  // As waitpid(2) gives it, once it has ended.
  std::optional<int> status;
};

// Why a command could not be started: what was tried, and its errno.
struct StartFailure {
  std::string step;
  int error = 0;
};

// Starts the command in a session of its own. Its process group is the number of its process.
std::optional<Process> start_process(const ExecRequest& request, StartFailure& failure);

}  // namespace viaduct::guest
