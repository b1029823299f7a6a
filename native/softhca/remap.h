// Remap at registration: a program's private memory becomes memory that peers can map, in place.
//
// A choice of the user (VIADUCT_REMAP=1), because it has a price: what another thread writes into
// the range while it is copied is lost, after a fork parent and child share it, and a program that
// looks at its own mappings sees a file.
#pragma once

#include <cstddef>

namespace softhca {

bool remap_enabled();

// To be called once, before any other fork handler is registered: in a child, no other may run
// before the memory that it shares with its parent is separate.
void guard_forks();

// Moves the pages that hold the range into this process's shared file, if they are private,
// anonymous and writable; else leaves all as it is.
void remap_range(void* address, size_t length);

}  // namespace softhca
