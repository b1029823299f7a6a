#include "guard/isolation.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace viaduct::guard {
namespace {

// mount_setattr(2) came to Linux with 5.12 and to C libraries much later.
constexpr long mount_setattr_call = 442;
struct MountAttributes {
  uint64_t set = 0;
  uint64_t clear = 0;
  uint64_t propagation = 0;
  uint64_t user_namespace = 0;
};
constexpr uint64_t read_only_attribute = 1;
constexpr unsigned recursive = 0x8000;

pid_t fork_with(unsigned long flags) {
  return static_cast<pid_t>(syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0));
}

void write_file(const char* path, const char* text) {
  const int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  // A refused map leaves the overflow user; PROGRAM then reports what it may not do.
  [[maybe_unused]] const ssize_t written = write(file, text, strlen(text));
  close(file);
}

void keep_own_ids(uid_t user, gid_t group) {
  char map[64];
  snprintf(map, sizeof map, "%u %u 1", user, user);
  write_file("/proc/self/uid_map", map);
  // user_namespaces(7): an unprivileged process must give setgroups up before it maps groups.
  write_file("/proc/self/setgroups", "deny");
  snprintf(map, sizeof map, "%u %u 1", group, group);
  write_file("/proc/self/gid_map", map);
}

bool refuse(const char* what, const char* where) {
  fprintf(stderr, "viaduct-guard: %s %s: %s; the program is not run, for it could write there\n",
          what, where, strerror(errno));
  return false;
}

}  // namespace

pid_t fork_isolated(bool& is_init) {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  is_init = true;
  pid_t child = fork_with(CLONE_NEWPID);
  if (child < 0) {
    child = fork_with(CLONE_NEWUSER | CLONE_NEWPID);
    if (child == 0) keep_own_ids(user, group);
  }
  if (child < 0) {
    is_init = false;
    child = fork_with(0);
  }
  return child;
}

bool isolate_mounts(const Options& options) {
  if (!options.read_only && options.tmpfs.empty()) return true;
  if (unshare(CLONE_NEWNS) != 0) return true;
  // Slave: what the host mounts later is seen here, what is mounted here is not seen there.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    return refuse("private mounts below", "/");
  }
  if (options.read_only) {
    MountAttributes attributes;
    attributes.set = read_only_attribute;
    if (syscall(mount_setattr_call, AT_FDCWD, "/", recursive, &attributes, sizeof attributes) !=
        0) {
      return refuse("read-only mounts below", "/");
    }
  }
  for (const std::string& directory : options.tmpfs) {
    if (mount("tmpfs", directory.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") != 0) {
      return refuse("a tmpfs mounted on", directory.c_str());
    }
  }
  return true;
}

}  // namespace viaduct::guard
