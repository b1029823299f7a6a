// viaduct-agent: the first process of a guest, and the only one that viaduct puts there.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "guest/agent.h"
#include "guest/message.h"
#include "guest/mounts.h"
#include "guest/network.h"

namespace {

constexpr char control_line[] = "/dev/ttyS0";

// Without the agent the machine is lost: no memory is worth having in its place.
void forbid_out_of_memory_kill() {
  const int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  [[maybe_unused]] const ssize_t written = write(file, "-1000", 5);
  close(file);
}

void bring_loopback_up() {
  std::string step;
  const int error = viaduct::guest::configure_network({"lo", 0x7f000001, 8, 0}, step);
  if (error == 0) return;
  fprintf(stderr, "viaduct-agent: lo: %s: %s\n", step.c_str(), strerror(error));
}

int watch_children() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, nullptr);
  return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

void power_off(viaduct::guest::Channel& channel) {
  kill(-1, SIGKILL);
  channel.drain();
  sync();
  reboot(RB_POWER_OFF);
}

}  // namespace

int main() {
  using namespace viaduct::guest;
  if (getpid() != 1) {
    fprintf(stderr, "viaduct-agent is the first process of a guest and of no use elsewhere\n");
    return 1;
  }
  mount_all();
  forbid_out_of_memory_kill();
  bring_loopback_up();
  Channel channel;
  if (!channel.open(control_line)) {
    fprintf(stderr, "viaduct-agent: %s: %s\n", control_line, strerror(errno));
    reboot(RB_POWER_OFF);
    return 1;
  }
  utsname system;
  uname(&system);
  channel.send(FrameType::hello, 0, encode(HelloFromAgent{protocol_version, system.release}));
  Agent(channel, watch_children()).run();
  power_off(channel);
}
