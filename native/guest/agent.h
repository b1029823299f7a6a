// The agent: does what the host's frames ask for, until it is told to power the machine off.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "guest/channel.h"
#include "guest/process.h"

namespace viaduct::guest {

class Agent {
 public:
  // `child_signals` is a signalfd(2) of SIGCHLD.
  Agent(Channel& channel, int child_signals, std::string kernel)
      : channel_(channel), child_signals_(child_signals), kernel_(std::move(kernel)) {}

  // Returns when the machine is to be powered off.
  void run();

 private:
  void wait_for_events();
  void receive();
  void obey(const Frame& frame);
  bool greet(const Frame& frame);
  void say_hello(uint32_t stream);
  void exec(const Frame& frame);
  void take_input(const Frame& frame);
  void widen(const Frame& frame);
  void send_signal(const Frame& frame);
  void set_network(const Frame& frame);
  void tell_memory(const Frame& frame);
  void begin_power_off(const Frame& frame);
  void fail(uint32_t stream, int error, const std::string& text);
  // The host broke the protocol: nothing it says can be trusted to mean what it should.
  void give_up(const char* reason);

  void write_input(uint32_t stream, Process& process);
  void read_output(uint32_t stream, OutputStream& output, bool until_empty);
  void reap();
  void finish_ended();

  Channel& channel_;
  const int child_signals_;
  const std::string kernel_;
  bool greeted_ = false;
  bool stopped_ = false;
  bool no_children_ = true;
  std::optional<std::chrono::steady_clock::time_point> power_off_at_;
  std::map<uint32_t, Process> processes_;
};

}  // namespace viaduct::guest
