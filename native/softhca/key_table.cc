// The table of memory keys: random 32-bit numbers, each with what it allows.
#include "softhca/key_table.h"

#include <sys/random.h>

#include <cassert>
#include <cerrno>

namespace softhca {
namespace {

// Buffered: one system call for many keys.
uint32_t random_key() {
  thread_local uint32_t buffer[64];
  thread_local size_t left = 0;
  if (left == 0) {
    if (getrandom(buffer, sizeof buffer, 0) != sizeof buffer) return 0;
    left = 64;
  }
  return buffer[--left];
}

constexpr uint32_t reserved_mark = 0xffffffff;  // in KeyEntry::kind

}  // namespace

uint32_t reserve_key(Host& host) {
  std::lock_guard guard(host.keys_mutex);
  if (host.keys_used >= max_mr) {
    errno = ENOMEM;
    return 0;
  }
  for (;;) {
    uint32_t key = random_key();
    // 0 means "no key", and a key whose low byte is free to change must not become 0.
    if (key >> 8 == 0) continue;
    KeyEntry& entry = host.keys().entry[key_slot(key)];
    if (entry.key.load(std::memory_order_relaxed) != 0 || entry.kind != 0) continue;
    entry.kind = reserved_mark;
    ++host.keys_used;
    return key;
  }
}

void release_key(Host& host, uint32_t key) {
  std::lock_guard guard(host.keys_mutex);
  KeyEntry& entry = host.keys().entry[key_slot(key)];
  assert(entry.key.load() == 0 && host.keys_used > 0);
  entry.kind = 0;
  --host.keys_used;
}

void publish_key(Host& host, uint32_t key, const KeyInit& init) {
  KeyEntry& entry = host.keys().entry[key_slot(key)];
  assert(entry.key.load() == 0 && init.base + init.length >= init.base);
  entry.kind = init.kind;
  entry.pd = init.pd;
  entry.access = init.access;
  entry.iova = init.iova;
  entry.length = init.length;
  entry.base = init.base;
  entry.map_offset = init.map_offset;
  entry.map_fd = init.map_fd;
  entry.map_id = init.map_id;
  entry.qp_num = init.qp_num;
  entry.unmapped = init.unmapped;
  host.segment().invalidated[key_slot(key)].store(0, std::memory_order_relaxed);
  entry.key.store(key, std::memory_order_release);
}

void withdraw_key(Host& host, uint32_t slot) {
  KeyEntry& entry = host.keys().entry[slot];
  entry.key.store(0, std::memory_order_seq_cst);
  heavy_barrier();
  // Whoever saw the key holds the lock of one of our queue pairs until done with it.
  for (uint32_t i = 0; i < host.qp_limit; ++i)
    await_exit(host.segment().qp[i].inbound, host.site());
  entry.kind = reserved_mark;
}

void invalidate_key(Site& site, uint32_t key) {
  site.segment->invalidated[key_slot(key)].store(key, std::memory_order_seq_cst);
}

}  // namespace softhca
