// Copy memory from another process of this host in one step, without its help.
#pragma once

#include <cstddef>
#include <cstdint>

namespace viaduct::aperture {

// Reads exactly length bytes at remote_address of process pid. Returns 0, or the errno of
// process_vm_readv(2): EPERM without ptrace rights, ESRCH when the process is gone, EFAULT when a
// part of the range is not mapped there (what came before it may have been written to local).
int read_process(int32_t pid, uint64_t remote_address, void* local, size_t length);

// Lets pid and its descendants read this process where Yama restricts ptrace to ancestors.
// Elsewhere it does nothing. See PR_SET_PTRACER in prctl(2).
void allow_reader(int32_t pid);

}  // namespace viaduct::aperture
