#include "guest/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <string>

namespace viaduct::guest {
namespace {

// The largest messages that the transport takes, and a cache that trusts the files not to change:
// what programs are started from.
constexpr char host_share_options[] = "trans=virtio,version=9p2000.L,msize=512000,cache=loose";

bool attach(const char* type, const std::string& directory, unsigned long flags,
            const char* options, const char* source = "none") {
  mkdir(directory.c_str(), 0755);
  if (mount(source, directory.c_str(), type, flags, options) == 0) return true;
  fprintf(stderr, "viaduct-agent: mount %s on %s: %s\n", type, directory.c_str(), strerror(errno));
  return false;
}

void mount_system_in(const std::string& root) {
  attach("proc", root + "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
  attach("sysfs", root + "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
  attach("devtmpfs", root + "/dev", MS_NOSUID, "mode=0755");
}

// User-Mode Linux has overlayfs as a module, which its package puts beside the kernel.
void load_overlay() {
  utsname system;
  uname(&system);
  const std::string path = std::string(host_root) + "/usr/lib/uml/modules/" + system.release +
                           "/kernel/fs/overlayfs/overlay.ko";
  const int module = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (module < 0) return;
  syscall(SYS_finit_module, module, "", 0);
  close(module);
}

// Programs and their files may lie in the host's /tmp, and programs write to /tmp: both work, and
// what they write stays in the guest.
void mount_temporary() {
  const std::string directory = std::string(host_root) + "/tmp";
  attach("tmpfs", "/scratch", MS_NOSUID | MS_NODEV, "mode=0755");
  mkdir("/scratch/upper", 01777);
  // mkdir takes the umask off.
  chmod("/scratch/upper", 01777);
  mkdir("/scratch/work", 0700);
  load_overlay();
  const std::string options =
      "lowerdir=" + directory + ",upperdir=/scratch/upper,workdir=/scratch/work";
  if (attach("overlay", directory, MS_NOSUID | MS_NODEV, options.c_str())) return;
  attach("tmpfs", directory, MS_NOSUID | MS_NODEV, "mode=1777");
}

}  // namespace

void mount_system() { mount_system_in(""); }

void mount_root(const char* type) {
  const std::string root = type == nullptr ? "" : host_root;
  if (type == nullptr) {
    attach("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777");
  } else {
    const bool shared_by_qemu = strcmp(type, "9p") == 0;
    if (!attach(type, root, MS_RDONLY, shared_by_qemu ? host_share_options : "/", "host")) return;
    mount_temporary();
    mount_system_in(root);
  }
  const std::string devices = root + "/dev";
  attach("devpts", devices + "/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620");
  attach("tmpfs", devices + "/shm", MS_NOSUID | MS_NODEV, "mode=1777");
  // devtmpfs is one file system wherever it is mounted, and has none of udev's links.
  symlink("/proc/self/fd", "/dev/fd");
  symlink("/proc/self/fd/0", "/dev/stdin");
  symlink("/proc/self/fd/1", "/dev/stdout");
  symlink("/proc/self/fd/2", "/dev/stderr");
}

}  // namespace viaduct::guest
