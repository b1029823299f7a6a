// Runs PROGRAM below two processes that watch each other, and cleans up whichever of them dies.
#pragma once

#include "guard/options.h"

namespace viaduct::guard {

// Sent to each process of the guard when the one that it watches dies; whoever sends it to the
// front has everything ended at once. A real-time signal, by number because C libraries differ in
// SIGRTMIN.
inline constexpr int watched_process_died = 40;

// Takes PROGRAM's place in the calling process: affinity, then exec. Returns 126 or 127 if it
// can't be run.
int run_in_place(const Options& options);

// Returns PROGRAM's exit status, or doesn't return because PROGRAM died of a signal.
int supervise(const Options& options);

}  // namespace viaduct::guard
