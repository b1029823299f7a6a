#include "guest/agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include <algorithm>
#include <limits>

#include "guest/message.h"
#include "guest/network.h"

namespace viaduct::guest {
namespace {

constexpr size_t output_chunk_bytes = 32768;

// MemAvailable of /proc/meminfo, which sysinfo(2) has not.
uint64_t available_memory_bytes() {
  FILE* file = fopen("/proc/meminfo", "re");
  if (file == nullptr) return 0;
  char line[128];
  unsigned long long kibibytes = 0;
  while (fgets(line, sizeof line, file) != nullptr) {
    if (sscanf(line, "MemAvailable: %llu kB", &kibibytes) == 1) break;
  }
  fclose(file);
  return kibibytes * 1024;
}

}  // namespace

void Agent::run() {
  say_hello(0);
  while (!stopped_) {
    wait_for_events();
    finish_ended();
    if (!power_off_at_) continue;
    stopped_ = stopped_ || (no_children_ && processes_.empty()) ||
               std::chrono::steady_clock::now() >= *power_off_at_;
  }
}

void Agent::wait_for_events() {
  std::vector<pollfd> polled = {
      {.fd = channel_.descriptor(), .events = POLLIN, .revents = 0},
      {.fd = child_signals_, .events = POLLIN, .revents = 0},
  };
  for (const auto& [stream, process] : processes_) {
    const bool writes = !process.pending_input.empty();
    const bool reads_output = process.output.window_bytes > 0 && !process.status;
    const bool reads_error = process.error.window_bytes > 0 && !process.status;
    // Input is watched even with nothing to write: POLLERR tells that nobody reads it.
    const short writable = writes ? POLLOUT : 0;
    polled.push_back({.fd = process.input.number(), .events = writable, .revents = 0});
    polled.push_back(
        {.fd = reads_output ? process.output.pipe.number() : -1, .events = POLLIN, .revents = 0});
    polled.push_back(
        {.fd = reads_error ? process.error.pipe.number() : -1, .events = POLLIN, .revents = 0});
  }
  int timeout_ms = -1;
  if (power_off_at_) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        *power_off_at_ - std::chrono::steady_clock::now());
    timeout_ms =
        static_cast<int>(std::clamp<int64_t>(left.count(), 0, std::numeric_limits<int>::max()));
  }
  if (poll(polled.data(), polled.size(), timeout_ms) < 0) return;
  size_t at = 2;
  for (auto& [stream, process] : processes_) {
    if (polled[at++].revents != 0) write_input(stream, process);
    if (polled[at++].revents != 0) read_output(stream, process.output, false);
    if (polled[at++].revents != 0) read_output(stream, process.error, false);
  }
  if (polled[1].revents != 0) reap();
  // Last: it adds and changes processes.
  if (polled[0].revents != 0) receive();
}

void Agent::receive() {
  if (!channel_.receive()) {
    give_up("the host closed the control channel");
    return;
  }
  while (std::optional<Frame> frame = channel_.next()) obey(*frame);
  if (channel_.error() != FrameError::none) give_up(describe(channel_.error()));
}

void Agent::obey(const Frame& frame) {
  if (!greeted_ || frame.type == FrameType::hello) {
    if (!greet(frame)) give_up("no greeting of this version");
    return;
  }
  switch (frame.type) {
    case FrameType::exec:
      return exec(frame);
    case FrameType::input:
      return take_input(frame);
    case FrameType::window:
      return widen(frame);
    case FrameType::signal:
      return send_signal(frame);
    case FrameType::network:
      return set_network(frame);
    case FrameType::ping:
      return channel_.send(FrameType::pong, frame.stream, frame.payload);
    case FrameType::memory:
      return tell_memory(frame);
    case FrameType::power_off:
      return begin_power_off(frame);
    default:
      return give_up("a frame that only the agent sends");
  }
}

bool Agent::greet(const Frame& frame) {
  if (frame.type != FrameType::hello) return false;
  const std::optional<HelloFromHost> hello = parse_hello(frame.payload);
  if (!hello || hello->version != protocol_version) return false;
  sethostname(hello->name.data(), hello->name.size());
  if (greeted_) {
    channel_.restart();
    say_hello(frame.stream);
  }
  greeted_ = true;
  return true;
}

void Agent::say_hello(uint32_t stream) {
  HelloFromAgent hello = {protocol_version, kernel_, {}};
  for (auto& [number, process] : processes_) {
    process.output.window_bytes = initial_window_bytes;
    process.error.window_bytes = initial_window_bytes;
    hello.commands.push_back({number, static_cast<uint32_t>(process.pid),
                              static_cast<uint32_t>(process.pending_input.size())});
  }
  channel_.send(FrameType::hello, stream, encode(hello));
}

void Agent::exec(const Frame& frame) {
  const std::optional<ExecRequest> request = parse_exec(frame.payload);
  if (!request) return fail(frame.stream, EBADMSG, "exec: malformed request");
  if (processes_.contains(frame.stream)) return give_up("a stream number in use");
  StartFailure failure;
  std::optional<Process> process = start_process(*request, failure);
  if (!process) return fail(frame.stream, failure.error, failure.step);
  PayloadWriter started;
  started.u32(static_cast<uint32_t>(process->pid));
  no_children_ = false;
  processes_.emplace(frame.stream, std::move(*process));
  channel_.send(FrameType::started, frame.stream, started.bytes);
}

void Agent::take_input(const Frame& frame) {
  const auto found = processes_.find(frame.stream);
  // Frames cross: the process may have ended while these bytes were on their way.
  if (found == processes_.end()) return;
  Process& process = found->second;
  if (frame.payload.empty()) process.input_ended = true;
  if (process.pending_input.size() + frame.payload.size() > initial_window_bytes) {
    return give_up("more input than was granted");
  }
  process.pending_input.insert(process.pending_input.end(), frame.payload.begin(),
                               frame.payload.end());
  write_input(frame.stream, process);
}

void Agent::write_input(uint32_t stream, Process& process) {
  if (!process.input.is_open()) {
    process.pending_input.clear();
    return;
  }
  // Also with nothing pending, to learn whether anybody reads.
  const ssize_t count =
      write(process.input.number(), process.pending_input.data(), process.pending_input.size());
  pollfd reader = {.fd = process.input.number(), .events = 0, .revents = 0};
  if ((count < 0 && errno == EPIPE) || (poll(&reader, 1, 0) > 0 && reader.revents != 0)) {
    process.input.reset();
    process.pending_input.clear();
    channel_.send(FrameType::input, stream);
    return;
  }
  if (count > 0) {
    process.pending_input.erase(process.pending_input.begin(),
                                process.pending_input.begin() + count);
    PayloadWriter window;
    window.u8(static_cast<uint8_t>(FrameType::input));
    window.u32(static_cast<uint32_t>(count));
    channel_.send(FrameType::window, stream, window.bytes);
  }
  if (process.input_ended && process.pending_input.empty()) process.input.reset();
}

void Agent::read_output(uint32_t stream, OutputStream& output, bool until_empty) {
  uint8_t bytes[output_chunk_bytes];
  do {
    if (!output.pipe.is_open() || output.window_bytes == 0) return;
    const size_t wanted = std::min<uint64_t>(sizeof bytes, output.window_bytes);
    const ssize_t count = read(output.pipe.number(), bytes, wanted);
    if (count > 0) {
      output.window_bytes -= static_cast<uint64_t>(count);
      channel_.send(output.type, stream, {bytes, static_cast<size_t>(count)});
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    // Nothing more from a process that has ended is its end, although a process that it left
    // behind may hold the pipe.
    if (count < 0 && errno == EAGAIN && !until_empty) return;
    output.pipe.reset();
    channel_.send(output.type, stream);
  } while (until_empty);
}

void Agent::widen(const Frame& frame) {
  PayloadReader reader(frame.payload);
  const FrameType which = static_cast<FrameType>(reader.u8());
  const uint32_t bytes = reader.u32();
  if (!reader.complete()) return give_up("malformed window");
  const auto found = processes_.find(frame.stream);
  if (found == processes_.end()) return;
  if (which == FrameType::output) found->second.output.window_bytes += bytes;
  if (which == FrameType::error) found->second.error.window_bytes += bytes;
}

void Agent::send_signal(const Frame& frame) {
  PayloadReader reader(frame.payload);
  const uint32_t number = reader.u32();
  if (!reader.complete() || number >= NSIG) return fail(frame.stream, EINVAL, "signal");
  const auto found = processes_.find(frame.stream);
  if (found == processes_.end() || found->second.status) return;
  kill(-found->second.pid, static_cast<int>(number));
}

void Agent::set_network(const Frame& frame) {
  const std::optional<NetworkRequest> request = parse_network(frame.payload);
  if (!request) return fail(frame.stream, EBADMSG, "network: malformed request");
  std::string step;
  const int error = configure_network(*request, step);
  if (error != 0) return fail(frame.stream, error, step);
  channel_.send(FrameType::done, frame.stream);
}

void Agent::tell_memory(const Frame& frame) {
  struct sysinfo info = {};
  sysinfo(&info);
  PayloadWriter memory;
  memory.u64(uint64_t{info.totalram} * info.mem_unit);
  memory.u64(uint64_t{info.freeram} * info.mem_unit);
  memory.u64(available_memory_bytes());
  channel_.send(FrameType::memory, frame.stream, memory.bytes);
}

void Agent::begin_power_off(const Frame& frame) {
  PayloadReader reader(frame.payload);
  const uint32_t grace_ms = reader.u32();
  if (!reader.complete()) return give_up("malformed power_off");
  power_off_at_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(grace_ms);
  kill(-1, SIGTERM);
}

void Agent::fail(uint32_t stream, int error, const std::string& text) {
  PayloadWriter failure;
  failure.u32(static_cast<uint32_t>(error));
  failure.text(text);
  channel_.send(FrameType::failed, stream, failure.bytes);
}

void Agent::give_up(const char* reason) {
  fprintf(stderr, "viaduct-agent: %s; the machine powers off\n", reason);
  stopped_ = true;
}

void Agent::reap() {
  uint8_t information[1024];
  // Only clears the signal: one may stand for many children.
  [[maybe_unused]] const ssize_t count = read(child_signals_, information, sizeof information);
  int status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    for (auto& [stream, process] : processes_) {
      if (process.pid == pid) process.status = status;
    }
  }
  no_children_ = pid < 0 && errno == ECHILD;
}

void Agent::finish_ended() {
  for (auto at = processes_.begin(); at != processes_.end();) {
    auto& [stream, process] = *at;
    if (!process.status) {
      ++at;
      continue;
    }
    read_output(stream, process.output, true);
    read_output(stream, process.error, true);
    if (process.output.pipe.is_open() || process.error.pipe.is_open()) {
      // The host takes no more for now; its next window continues this.
      ++at;
      continue;
    }
    const int status = *process.status;
    PayloadWriter exited;
    exited.u32(WIFEXITED(status) ? static_cast<uint32_t>(WEXITSTATUS(status)) : 0);
    exited.u32(WIFSIGNALED(status) ? static_cast<uint32_t>(WTERMSIG(status)) : 0);
    channel_.send(FrameType::exited, stream, exited.bytes);
    at = processes_.erase(at);
  }
}

}  // namespace viaduct::guest
