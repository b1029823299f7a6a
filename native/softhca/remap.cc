// Remap at registration: a program's private memory becomes memory that peers can map, in place.
#include "softhca/remap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <mutex>
#include <new>

#include "softhca/address_space.h"
#include "softhca/heap.h"

namespace softhca {
namespace {

constexpr uint64_t page = 4096;
constexpr uint64_t file_bytes = 1ull << 36;  // sparse

struct Store {
  int fd = -1;
  uint64_t device = 0, inode = 0;
  Heap heap{page, file_bytes};
  std::map<uint64_t, uint64_t> ranges;  // offset to length
  size_t sweep_at = 64;
};

std::mutex mutex;
Store* made = nullptr;

// The word that a child sets when it has memory of its own again. In a shared page of its own.
std::atomic<uint32_t>* separated = nullptr;

// What a child has to copy. Found before the fork: the child must not allocate before it has
// copied, because half of the allocator's state (the heap) is still the parent's.
std::vector<Area>& to_separate() {
  static auto* areas = new std::vector<Area>;
  return *areas;
}

// Gives this process, a child just made, private copies of what it shares with its parent.
void separate() {
  for (const Area& area : to_separate()) {
    size_t bytes = area.end - area.begin;
    void* copy = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED) abort();  // the child would change the parent's memory
    memcpy(copy, reinterpret_cast<void*>(area.begin), bytes);
    if (syscall(SYS_mremap, copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, area.begin) < 0)
      abort();
  }
}

void before_fork() {
  mutex.lock();
  if (!made) return;
  to_separate() = all_areas();
  std::erase_if(to_separate(), [](const Area& area) {
    return area.inode != made->inode || area.device != made->device;
  });
  separated->store(0);
}

// What the parent's forking thread does now, the child would see: so it waits. Other threads don't;
// their writes in this moment may or may not be in the child.
void after_fork_in_parent() {
  if (made) {
    timespec nap{0, 100000};
    for (int turns = 0; separated->load() == 0 && turns < 50000; ++turns) nanosleep(&nap, nullptr);
  }
  mutex.unlock();
}

void after_fork_in_child() {
  if (made) {
    separate();
    separated->store(1);
    // The file is the parent's; this process makes one of its own when it registers memory.
    munmap(separated, page);
    separated = nullptr;
    close(made->fd);
    made = nullptr;
  }
  mutex.unlock();
}

// nullptr if it can't be made.
Store* store() {
  if (made) return made;
  made = [] {
    auto* fresh = new Store;
    struct stat st;
    void* word = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fresh->fd = memfd_create("viaduct-softhca-remap", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (word == MAP_FAILED || fresh->fd < 0 || ftruncate(fresh->fd, off_t(file_bytes)) != 0 ||
        fcntl(fresh->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0 ||
        fstat(fresh->fd, &st) != 0) {
      if (fresh->fd >= 0) close(fresh->fd);
      if (word != MAP_FAILED) munmap(word, page);
      delete fresh;
      return static_cast<Store*>(nullptr);
    }
    fresh->device = st.st_dev;
    fresh->inode = st.st_ino;
    separated = new (word) std::atomic<uint32_t>(1);
    return fresh;
  }();
  return made;
}

// Frees what the program has unmapped since. Mappings may have been moved or cut: only what no
// mapping of the file touches any more is free.
void sweep(Store& store) {
  std::vector<Area> areas = all_areas();
  if (areas.empty()) return;
  for (auto it = store.ranges.begin(); it != store.ranges.end();) {
    bool used = false;
    for (const Area& area : areas)
      used = used || (area.inode == store.inode && area.device == store.device &&
                      area.offset < it->first + it->second &&
                      it->first < area.offset + (area.end - area.begin));
    if (used) {
      ++it;
      continue;
    }
    fallocate(store.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off_t(it->first),
              off_t(it->second));
    store.heap.release(it->first);
    it = store.ranges.erase(it);
  }
  store.sweep_at = store.ranges.size() * 2 + 64;
}

}  // namespace

bool remap_enabled() {
  static const bool enabled = [] {
    const char* value = getenv("VIADUCT_REMAP");
    return value && strcmp(value, "1") == 0;
  }();
  return enabled;
}

void guard_forks() {
  if (remap_enabled()) pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void remap_range(void* address, size_t length) {
  auto begin = reinterpret_cast<uintptr_t>(address) & ~(page - 1);
  uintptr_t end = (reinterpret_cast<uintptr_t>(address) + length + page - 1) & ~(page - 1);
  uint64_t bytes = end - begin;
  std::lock_guard guard(mutex);
  std::vector<Area> areas = areas_of(begin, end);
  if (areas.empty()) return;
  auto stack = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  for (const Area& area : areas) {
    // Not the stack that this runs on: it changes while it is copied.
    if (area.shared || area.inode != 0 || !area.readable || !area.writable ||
        (stack >= area.begin && stack < area.end))
      return;
  }
  Store* mine = store();
  if (!mine) return;
  if (mine->ranges.size() >= mine->sweep_at) sweep(*mine);
  uint64_t offset = mine->heap.allocate(bytes);
  if (offset == 0) return;
  void* copy = MAP_FAILED;
  if (fallocate(mine->fd, 0, off_t(offset), off_t(bytes)) == 0)
    copy = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, mine->fd, off_t(offset));
  if (copy == MAP_FAILED) {
    mine->heap.release(offset);
    return;
  }
  memcpy(copy, reinterpret_cast<void*>(begin), bytes);
  // The raw call: programs hook the library's to watch their own mappings.
  if (syscall(SYS_mremap, copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, begin) < 0) {
    munmap(copy, bytes);
    mine->heap.release(offset);
    return;
  }
  mine->ranges[offset] = bytes;
}

}  // namespace softhca
