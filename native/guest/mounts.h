// The guest's file systems: its own, and the host's read-only one that commands run in.
#pragma once

namespace viaduct::guest {

// Where the host's file system is; commands run in it by chroot.
inline constexpr char host_root[] = "/host";

// Mounts all. Failures are written to the console: a command that needs what is missing says more.
void mount_all();

}  // namespace viaduct::guest
