// Namespaces of PROGRAM: a process tree that dies as one, and mounts that nobody else sees.
#pragma once

#include <sys/types.h>

#include "guard/options.h"

namespace viaduct::guard {

// Forks with the most isolation that the system permits; 0 in the child, -1 on failure. `is_init`
// tells whether the child is the init of a process namespace, so that all in it dies with it.
pid_t fork_isolated(bool& is_init);

// Gives the calling process the mounts that `options` ask for. What the system forbids is left as
// it was: the options say "where permitted".
void isolate_mounts(const Options& options);

}  // namespace viaduct::guard
