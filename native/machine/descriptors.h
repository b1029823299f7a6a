// Descriptors across processes: sent over a Unix socket, and locked against other processes.
#pragma once

#include <cstddef>
#include <span>

namespace viaduct::machine {

// Sends bytes and, with them, a descriptor (SCM_RIGHTS, unix(7)); 0 or an errno. The bytes must fit
// into the socket at once.
int send_with_descriptor(int socket, std::span<const char> bytes, int descriptor);

// flock(2), exclusive, without waiting; 0 or an errno (EWOULDBLOCK: another has it). The lock ends
// with the last copy of the descriptor.
int try_lock(int descriptor);

}  // namespace viaduct::machine
