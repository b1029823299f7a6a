// Lets a transfer meet memory that went away: the program unmapped what it had registered, or took
// its access. Hardware that pinned the pages would not crash anybody then, and so must we not.
//
// How: a transfer runs inside guarded(), which notes its stack pointer for this thread. A handler
// of SIGSEGV and SIGBUS sends a faulting transfer back to there; any other fault goes to the
// handler that was there before, or to the default. That costs some register saves a message, where
// having the kernel copy (process_vm_readv of oneself) or checking first would cost a system call
// each. The moves of copy_guarded() are in a table, with where to go on after a fault in each: that
// costs nothing.
//
// A program that installs a handler of its own later takes ours out of service until the next
// registration, which puts it before that one; in between such a fault is the program's, as that of
// any wild pointer. On x86-64 and aarch64.
#pragma once

#include <cstddef>
#include <type_traits>

namespace softhca {

// Installs the handler, or puts it in front again. Cheap if nothing changed.
void watch_faults();

// Calls work(argument). False if it touched memory that isn't there; then *address is where, or
// nullptr if the processor didn't say. `work` must own nothing that a destructor would free.
bool guarded(void (*work)(void*), void* argument, void** address);

// Copies bytes that don't overlap, up to some cache lines, the last eight at last and at once.
// False if it touched memory that isn't there: guarded() tells where.
bool copy_guarded(void* to, const void* from, size_t bytes);

template <typename Work>
bool guard_faults(Work&& work, void** address) {
  return guarded([](void* argument) { (*static_cast<std::remove_reference_t<Work>*>(argument))(); },
                 &work, address);
}

}  // namespace softhca
