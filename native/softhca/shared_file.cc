// Finds out whether memory lies in a file that peers can map too, which puts it on the direct path.
#include "softhca/shared_file.h"

#include <map>
#include <mutex>

namespace softhca {
namespace {

struct Range {
  size_t length;
  uint32_t id;
  int fd;
  uint64_t offset;
};

std::mutex mutex;
std::map<uintptr_t, Range>& ranges() {
  static auto* map = new std::map<uintptr_t, Range>;
  return *map;
}

}  // namespace

SharedFile find_shared_file(const void* address, size_t length) {
  std::lock_guard guard(mutex);
  auto begin = reinterpret_cast<uintptr_t>(address);
  auto it = ranges().upper_bound(begin);
  if (it == ranges().begin()) return {};
  --it;
  if (begin - it->first > it->second.length || it->second.length - (begin - it->first) < length)
    return {};
  return {it->second.id, uint32_t(it->second.fd), it->second.offset + (begin - it->first)};
}

void add_shared_range(const void* address, size_t length, int fd, uint64_t offset) {
  std::lock_guard guard(mutex);
  ranges()[reinterpret_cast<uintptr_t>(address)] = {length, uint32_t(fd) + 1, fd, offset};
}

}  // namespace softhca
