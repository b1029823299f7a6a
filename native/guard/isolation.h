// Namespaces of PROGRAM: a process tree that dies as one, and mounts that nobody else sees.
#pragma once

#include <sys/types.h>

#include "guard/options.h"

namespace viaduct::guard {

// Forks with the most isolation that the system permits; 0 in the child, -1 on failure. `is_init`
// tells whether the child is the init of a process namespace, so that all in it dies with it.
pid_t fork_isolated(bool& is_init);

// Gives the calling process the mounts that `options` ask for. Where the system permits no mount
// namespace, all is left as it was: the options say "where permitted". Where it permits one and
// then not what is to be done in it (as in a chroot, whose root is no mount point), PROGRAM must
// not run: it was promised to be harmless. Says so on standard error and returns false.
bool isolate_mounts(const Options& options);

}  // namespace viaduct::guard
