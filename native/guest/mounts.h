// The guest's file systems: its own, and the host's read-only one that commands run in.
#pragma once

namespace viaduct::guest {

// Where the host's file system is; commands run in it by chroot.
inline constexpr char host_root[] = "/host";

// What the guest needs to find out what it has.
void mount_system();

// Mounts the host's file system, of the type `hostfs` (User-Mode Linux) or `9p` (QEMU), with what
// commands expect in it; without one (null) they run in the initramfs. Failures are written to the
// console: a command that needs what is missing says more.
void mount_root(const char* type);

}  // namespace viaduct::guest
