// What this process is on the device: its slot, its segment and its peers.
#include "softhca/host.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "softhca/fault_guard.h"
#include "softhca/heavy_barrier.h"
#include "softhca/network.h"
#include "softhca/network_options.h"
#include "softhca/remap.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace softhca {
namespace {

std::mutex& host_mutex() {
  static std::mutex* mutex = new std::mutex;  // outlives static destruction: threads may be running
  return *mutex;
}
Host* current = nullptr;

}  // namespace

int64_t IndexPool::take() {
  for (uint32_t i = 0; i < used_.size(); ++i) {
    uint32_t index = uint32_t((next_ + i) % used_.size());
    if (used_[index]) continue;
    used_[index] = true;
    next_ = index + 1;
    return index;
  }
  return -1;
}

void IndexPool::give(uint32_t index) { used_[index] = false; }

Host::Host(uint32_t seed)
    : qp_indices(max_qp, seed & 0xff),
      cq_indices(max_cq),
      srq_indices(max_srq, 1),
      context_indices(max_context),
      qps(max_qp),
      cqs(max_cq),
      srqs(max_srq),
      contexts(max_context),
      peers_(1u << slot_bits) {}

Host* Host::get() {
  std::lock_guard guard(host_mutex());
  if (current) return current;
  uint32_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) return nullptr;
  auto* host = new Host(seed);
  if (!host->start()) {
    int saved = errno;
    host->close_all();
    delete host;
    errno = saved;
    return nullptr;
  }
  current = host;
  watch_faults();
  static bool registered = false;
  if (!registered) {
    guard_forks();
    pthread_atfork(
        [] {
          host_mutex().lock();
          if (current) current->pause();
        },
        [] {
          if (current) current->go_on();
          host_mutex().unlock();
        },
        [] {
          if (current) after_fork();
          host_mutex().unlock();
        });
    registered = true;
  }
  return host;
}

void Host::pause() {
  network_mutex_.lock();
  if (Network* made = network()) made->pause();
  agent_mutex_.lock();
  parked_mutex_.lock();
}

void Host::go_on() {
  parked_mutex_.unlock();
  agent_mutex_.unlock();
  if (Network* made = network()) made->go_on();
  network_mutex_.unlock();
}

// The child shares descriptors and mappings with the parent, whose death it must not hide.
void Host::after_fork() {
  Host* host = current;
  current = nullptr;
  if (!host) return;
  host->usable_.store(false, std::memory_order_relaxed);
  host->close_all();
}

void Host::close_all() {
  for (auto& [token, connection] : connections_)
    if (connection.fd >= 0) close(connection.fd);
  for (auto& peer : peers_)
    if (peer && peer->connection >= 0) {
      close(peer->connection);
      peer->connection = -1;
    }
  for (int* fd : {&listener_, &doorbell_, &epoll_, &files_.segment, &files_.keys}) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
  }
  if (Network* made = network()) made->close_descriptors();
}

bool Host::start() {
  register_heavy_barrier();
  if (!create_files(&files_)) return false;
  self_ = std::make_shared<Site>();
  self_->self = true;
  self_->pid = getpid();
  self_->holder = owner_holder;
  self_->holders = std::make_unique<std::atomic<uint64_t>[]>(65536 / 64);
  void* segment = mmap(nullptr, segment_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                       files_.segment, 0);
  if (segment == MAP_FAILED) return false;
  self_->segment = static_cast<Segment*>(segment);
  void* keys = mmap(nullptr, sizeof(KeyTable), PROT_READ | PROT_WRITE, MAP_SHARED, files_.keys, 0);
  if (keys == MAP_FAILED) return false;
  keys_ = static_cast<KeyTable*>(keys);
  self_->keys = keys_;
  // From here on nobody else can map it for writing.
  if (fcntl(files_.keys, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) return false;
  doorbell_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (doorbell_ < 0 || epoll_ < 0) return false;
  self_->doorbell = doorbell_;
  self_->segment->header.magic = segment_magic;
  self_->segment->header.version = layout_version;
  self_->slot = claim_slot(&listener_);
  if (self_->slot == 0) return false;
  self_->segment->header.slot = self_->slot;
  self_->segment->wire.packets_only.store(network_options().packets_only);
  epoll_event event{EPOLLIN, {.u64 = 0}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event) != 0) return false;
  event = {EPOLLIN, {.u64 = 1}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, doorbell_, &event) != 0) return false;
  // Where Yama restricts ptrace (ptrace_scope 1), it takes this for peers of the same user to copy
  // from and to this process; elsewhere it does nothing. One pid only could be named, and peers are
  // many.
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([this] { run_agent(); }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return true;
}

std::shared_ptr<Site> Host::reach(uint32_t slot) {
  if (slot == self_->slot) return self_;
  if (slot < first_slot || slot > last_slot) return nullptr;
  {
    std::lock_guard guard(peers_mutex_);
    auto& known = peers_[slot];
    if (known && !known->gone.load(std::memory_order_acquire)) return known;
    known.reset();
  }
  auto site = attach(slot);
  if (!site) return nullptr;
  std::lock_guard guard(peers_mutex_);
  if (peers_[slot] && !peers_[slot]->gone.load(std::memory_order_acquire)) return peers_[slot];
  uint64_t token = next_token_++;
  connections_[token] = Connection{-1, 0, site};
  epoll_event event{EPOLLIN | EPOLLRDHUP, {.u64 = token}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, site->connection, &event) != 0) {
    connections_.erase(token);
    return nullptr;
  }
  peers_[slot] = site;
  return site;
}

Network* Host::open_network(std::string* problem) {
  const std::lock_guard guard(network_mutex_);
  if (!network()) {
    // For good: its thread runs in it.
    network_.store(Network::open(*this, problem).release(), std::memory_order_release);
    static const int at_exit = atexit([] {
      if (Network* made = current ? current->network() : nullptr) made->finish();
    });
    static_cast<void>(at_exit);
    const std::lock_guard parked(parked_mutex_);
    note_parked();
  }
  return network();
}

uint64_t Host::allocate(uint64_t bytes) {
  std::lock_guard guard(heap_mutex_);
  uint64_t offset = heap_.allocate(bytes);
  if (offset == 0) {
    errno = ENOMEM;
    return 0;
  }
  // Back it now: running out of memory later would be a signal, not an error.
  if (fallocate(files_.segment, 0, off_t(offset), off_t(bytes)) != 0) {
    heap_.release(offset);
    return 0;
  }
  memset(reinterpret_cast<uint8_t*>(self_->segment) + offset, 0, bytes);
  return offset;
}

void Host::release(uint64_t offset) {
  if (offset == 0) return;
  std::lock_guard guard(heap_mutex_);
  uint64_t bytes = heap_.bytes_of(offset);
  if (bytes >= 65536)
    fallocate(files_.segment, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off_t(offset),
              off_t(bytes));
  heap_.release(offset);
}

}  // namespace softhca
