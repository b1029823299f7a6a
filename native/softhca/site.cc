// A process's half of the device as this process sees it: its own, or a peer's mapped here.
#include "softhca/site.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "softhca/spin.h"

namespace softhca {

namespace {

constexpr uint32_t peer_wait_ms = 1000;
constexpr uint64_t stopped_holder_ms = 5000;

// Files of one peer that are mapped here, those that it has given up among them: others may be
// using a mapping, so none is undone. Memory in further files takes the copy path.
constexpr size_t max_mappings = 256;

// Opens a door of our own lock if its holder can't.
void evict(std::atomic<uint64_t>& door, uint64_t seen, const Site& self, uint64_t since_ns) {
  if (self.holder_lives(holder_of(seen)) && now_ns() - since_ns < stopped_holder_ms * 1000000)
    return;
  door.compare_exchange_strong(seen, released(seen), std::memory_order_seq_cst);
}

// Returns when whoever is inside by this door has left.
void await_exit(std::atomic<uint64_t>& door, const Site& self) {
  const uint64_t seen = door.load(std::memory_order_seq_cst);
  if ((seen & lock_holder_mask) == 0) return;
  const uint64_t since = now_ns();
  for (Backoff backoff; door.load(std::memory_order_acquire) == seen; backoff.pause())
    if (backoff.long_wait()) evict(door, seen, self, since);
}

// The same at a peer's lock, and for a second at most. False if somebody is inside.
bool await_exit_of_peer(const std::atomic<uint64_t>& door, const Site& peer) {
  const uint64_t since = now_ns();
  for (Backoff backoff; (door.load(std::memory_order_acquire) & lock_holder_mask) != 0;
       backoff.pause()) {
    if (!backoff.long_wait()) continue;
    if (peer.gone.load(std::memory_order_acquire) || now_ns() - since > peer_wait_ms * 1000000ull)
      return false;
  }
  return true;
}

// By one who is in by the front door: makes sure that nobody is inside by the side door, or false.
bool close_side(SharedLock& lock, const Site& site) {
  Favour& favour = lock.favour;
  // Acquire: reclaim() may have put nobody there, after what it mended inside.
  const uint32_t favoured = favour.who.load(std::memory_order_acquire);
  if (favoured == favour_nobody || favoured == visitor(site.holder)) return true;
  favour.shut();
  if (site.self) {
    await_exit(lock.side, site);
  } else if (!await_exit_of_peer(lock.side, site)) {
    return false;
  }
  favour.who.store(favour_nobody, std::memory_order_relaxed);
  return true;
}

}  // namespace

bool enter_by_front(SharedLock& lock, const Site& site) {
  number_thread();
  const uint32_t me = visitor(site.holder);
  if (site.self) {
    const uint64_t since = now_ns();
    for (Backoff backoff; !try_front(lock, me); backoff.pause())
      if (backoff.long_wait()) evict(lock.front, lock.front.load(), site, since);
  } else if (!wait_front(lock, me, site.gone, peer_wait_ms)) {
    return false;
  }
  if (!close_side(lock, site)) {
    leave(lock.front);
    return false;
  }
  lock.favour.count(me);
  return true;
}

void await_exit(SharedLock& lock, const Site& self) {
  await_exit(lock.front, self);
  await_exit(lock.side, self);
}

bool seize(SharedLock& lock, uint16_t dead_holder, const Site& self) {
  if (!held_by(lock, dead_holder)) return false;
  // It died at the front door, perhaps before it closed the other.
  if (holder_of(lock.side.load(std::memory_order_acquire)) != dead_holder) close_side(lock, self);
  return true;
}

void raise_eventfd(int fd, uint32_t times) {
  // A peer may have filled the counter, and then the write would block.
  pollfd room{fd, POLLOUT, 0};
  if (poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT)) return;
  uint64_t count = times;
  ssize_t n;
  do {
    n = write(fd, &count, sizeof count);
  } while (n < 0 && errno == EINTR);
}

bool is_eventfd(int fd) {
  char link[64], name[64] = {};
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  return readlink(link, name, sizeof name - 1) > 0 && strcmp(name, "anon_inode:[eventfd]") == 0;
}

Site::~Site() {
  for (auto& [id, fd] : signal_fds_)
    if (fd >= 0 && !self) close(fd);
  for (auto& [id, mapping] : mappings_)
    if (mapping.base) munmap(mapping.base, mapping.bytes);
  if (self) return;
  if (segment) munmap(segment, segment_bytes);
  if (keys) munmap(const_cast<KeyTable*>(keys), sizeof(KeyTable));
  if (doorbell >= 0) close(doorbell);
  if (connection >= 0) close(connection);
  if (pidfd_ >= 0) close(pidfd_);
}

int Site::fetch_descriptor(uint32_t fd) {
  if (pidfd_ < 0) pidfd_ = int(syscall(SYS_pidfd_open, pid, 0));
  if (pidfd_ < 0) return -1;
  return int(syscall(SYS_pidfd_getfd, pidfd_, int(fd), 0));
}

void Site::announce(int fd, uint64_t id) {
  std::lock_guard guard(mutex_);
  signal_fds_[id] = fd;
}

void Site::withdraw(uint64_t id) {
  std::lock_guard guard(mutex_);
  signal_fds_.erase(id);
}

bool Site::signal(uint32_t fd, uint64_t id) {
  if (self) {
    // By what was announced: the number in shared memory could be that of any file of ours.
    std::lock_guard guard(mutex_);
    auto known = signal_fds_.find(id);
    if (known == signal_fds_.end()) return false;
    raise_eventfd(known->second);
    return true;
  }
  if (last_signal_id_.load(std::memory_order_acquire) == id) {
    int cached = last_signal_fd_.load(std::memory_order_relaxed);
    if (cached >= 0 && last_signal_id_.load(std::memory_order_acquire) == id) {
      raise_eventfd(cached);
      return true;
    }
  }
  std::lock_guard guard(mutex_);
  auto known = signal_fds_.find(id);
  if (known == signal_fds_.end()) {
    int copy = fetch_descriptor(fd);
    if (copy >= 0) {
      // The number came from memory that the peer writes: only an eventfd is safe to write to.
      if (!is_eventfd(copy)) {
        close(copy);
        copy = -1;
      }
    }
    known = signal_fds_.emplace(id, copy).first;
  }
  if (known->second < 0) return false;
  last_signal_id_.store(0, std::memory_order_release);
  last_signal_fd_.store(known->second, std::memory_order_relaxed);
  last_signal_id_.store(id, std::memory_order_release);
  raise_eventfd(known->second);
  return true;
}

void Site::ring_doorbell() const {
  if (doorbell >= 0) raise_eventfd(doorbell);
}

uint8_t* Site::find_mapping(uint32_t map_fd, uint32_t map_id, uint64_t offset, uint64_t bytes) {
  std::lock_guard guard(mutex_);
  auto known = mappings_.find(map_id);
  if (known == mappings_.end()) {
    if (mappings_.size() >= max_mappings) return nullptr;
    Mapping mapping;
    int fd = fetch_descriptor(map_fd);
    mapping.error = fd < 0 ? errno : EPROTO;
    struct stat st;
    // Only a file that nobody can shrink under us is safe to touch.
    int seals = fd >= 0 ? fcntl(fd, F_GET_SEALS) : -1;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 && seals >= 0 && (seals & F_SEAL_SHRINK)) {
      void* base = mmap(nullptr, size_t(st.st_size), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_NORESERVE, fd, 0);
      if (base != MAP_FAILED) {
        mapping = {static_cast<uint8_t*>(base), uint64_t(st.st_size), 0};
      } else {
        mapping.error = errno;
      }
    }
    if (fd >= 0) close(fd);
    known = mappings_.emplace(map_id, mapping).first;
  }
  const Mapping& mapping = known->second;
  if (!mapping.base || bytes > mapping.bytes || offset > mapping.bytes - bytes) return nullptr;
  last_map_id_.store(0, std::memory_order_relaxed);
  last_map_base_.store(mapping.base, std::memory_order_release);
  last_map_bytes_.store(mapping.bytes, std::memory_order_release);
  last_map_id_.store(map_id, std::memory_order_release);
  return mapping.base + offset;
}

int Site::mapping_error(uint32_t map_id) {
  std::lock_guard guard(mutex_);
  auto known = mappings_.find(map_id);
  return known == mappings_.end() ? 0 : known->second.error;
}

}  // namespace softhca
