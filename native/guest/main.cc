// viaduct-agent: the first process of a guest, and the only one that viaduct puts there.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "guest/agent.h"
#include "guest/aperture_device.h"
#include "guest/file_stream.h"
#include "guest/modules.h"
#include "guest/mounts.h"
#include "guest/network.h"
#include "guest/relay.h"

namespace {

// The host's wishes, on the kernel's command line: the kernel makes what it doesn't know itself the
// environment of its first process.
constexpr char channel_variable[] = "viaduct_channel";
constexpr char root_variable[] = "viaduct_root";
constexpr char modules_directory[] = "/modules";

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

int be_agent() {
  using namespace viaduct::guest;
  mount_system();
  load_modules(modules_directory);
  mount_root(getenv(root_variable));
  enable_aperture_device();
  forbid_out_of_memory_kill();
  bring_loopback_up();
  const char* line = getenv(channel_variable);
  Channel channel;
  if (line == nullptr || !channel.open(line)) {
    fprintf(stderr, "viaduct-agent: control channel %s: %s\n", line == nullptr ? "" : line,
            strerror(line == nullptr ? EINVAL : errno));
    reboot(RB_POWER_OFF);
    return 1;
  }
  utsname system;
  uname(&system);
  Agent(channel, watch_children(), system.release).run();
  power_off(channel);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace viaduct::guest;
  if (getpid() == 1) return be_agent();
  // Started by the agent, as a command: files or a connection go through its standard streams.
  if (argc == 4 && strcmp(argv[1], "pack") == 0) return pack(argv[2], argv[3]);
  if (argc == 4 && strcmp(argv[1], "unpack") == 0) return unpack(argv[2], argv[3]);
  if (argc == 2 && strcmp(argv[1], "relay") == 0) return relay_port();
  fprintf(stderr, "viaduct-agent is the first process of a guest and of no use elsewhere\n");
  return 1;
}
