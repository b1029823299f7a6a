// The cross-process copy path: process_vm_readv and process_vm_writev, for any memory of a process
// of the same user.
#include <algorithm>
#include <cassert>
#include <cerrno>

#include "softhca/fault_guard.h"
#include "softhca/path.h"

namespace softhca {
namespace {

// Whether this process's side can be read, or written. The kernel doesn't say which side faulted.
bool accessible(Direction direction, LocalList local) {
  void* address = nullptr;
  return guard_faults(
      [&] {
        constexpr size_t page = 4096;
        for (uint32_t i = 0; i < local.count; ++i) {
          auto* byte = static_cast<uint8_t*>(local.pieces[i].iov_base);
          const uint8_t* end = byte + local.pieces[i].iov_len;
          while (byte < end) {
            if (direction == Direction::from_site) {
              __atomic_fetch_or(byte, 0, __ATOMIC_RELAXED);  // writes what is there
            } else {
              (void)*static_cast<volatile uint8_t*>(byte);
            }
            byte += page - reinterpret_cast<uintptr_t>(byte) % page;
          }
        }
      },
      &address);
}

}  // namespace

Moved move_by_kernel(pid_t pid, Direction direction, LocalList local, SpanList remote,
                     uint64_t bytes) {
  // At most max_sge pieces a side, one more for a header and one for the split tail.
  constexpr uint32_t room = max_sge + 2;
  assert(local.count < room && remote.count < room);
  iovec mine[room], theirs[room];
  uint32_t mine_count = 0, theirs_count = 0;
  uint64_t left = bytes;
  for (uint32_t i = 0; i < local.count && left > 0; ++i) {
    uint64_t piece = std::min<uint64_t>(left, local.pieces[i].iov_len);
    left -= piece;
    if (piece > 0) mine[mine_count++] = {local.pieces[i].iov_base, piece};
  }
  left = bytes;
  for (uint32_t i = 0; i < remote.count && left > 0; ++i) {
    uint64_t piece = std::min<uint64_t>(left, remote.spans[i].bytes);
    left -= piece;
    if (piece > 0)
      theirs[theirs_count++] = {reinterpret_cast<void*>(remote.spans[i].address), piece};
  }
  // The kernel copies piece by piece: a piece of its own makes the tail visible last.
  iovec& last = mine[mine_count - 1];
  if (direction == Direction::to_site && last.iov_len > 8) {
    mine[mine_count++] = {static_cast<uint8_t*>(last.iov_base) + last.iov_len - 8, 8};
    mine[mine_count - 2].iov_len -= 8;
  }
  uint32_t m = 0, t = 0;
  while (bytes > 0) {
    ssize_t n =
        direction == Direction::to_site
            ? process_vm_writev(pid, mine + m, mine_count - m, theirs + t, theirs_count - t, 0)
            : process_vm_readv(pid, mine + m, mine_count - m, theirs + t, theirs_count - t, 0);
    if (n < 0 && errno == ESRCH) return Moved::gone;
    if (n <= 0)
      return errno == EFAULT && !accessible(direction, local) ? Moved::local_fault
                                                              : Moved::site_fault;
    bytes -= uint64_t(n);
    // One call moves at most 2 GiB less a page; go on where it stopped.
    auto skip = [](iovec* list, uint32_t* at, uint64_t done) {
      while (done > 0) {
        uint64_t piece = std::min<uint64_t>(done, list[*at].iov_len);
        list[*at].iov_base = static_cast<uint8_t*>(list[*at].iov_base) + piece;
        list[*at].iov_len -= piece;
        done -= piece;
        if (list[*at].iov_len == 0) ++*at;
      }
    };
    skip(mine, &m, uint64_t(n));
    skip(theirs, &t, uint64_t(n));
  }
  return Moved::all;
}

}  // namespace softhca
