// The table of memory keys: random 32-bit numbers, each with what it allows.
#pragma once

#include "softhca/host.h"
#include "softhca/site.h"

namespace softhca {

// A piece of memory of some site, allowed for one operation.
struct Span {
  uint64_t address;  // in the owner's address space
  uint64_t bytes;
  uint8_t* mapped;  // the same here, if it is visible here
};

struct KeyInit {
  KeyKind kind;
  uint32_t pd;
  uint32_t access;
  uint64_t iova;
  uint64_t length;
  uint64_t base;
  uint64_t map_offset;
  uint32_t map_fd;
  uint32_t map_id;
  uint32_t qp_num;
  uint32_t unmapped;
};

// Reserves a slot and a random key for it; the key is not valid yet. 0 with errno.
uint32_t reserve_key(Host& host);
void release_key(Host& host, uint32_t key);

// Makes `key` valid. Only its low eight bits may differ from the reserved one (type 2 windows).
void publish_key(Host& host, uint32_t key, const KeyInit& init);
// Makes it invalid and returns when nobody uses it any more.
void withdraw_key(Host& host, uint32_t slot_of_key);

// Ends a key from outside (SEND with invalidate): the owner's table can't be written there.
void invalidate_key(Site& site, uint32_t key);

inline const KeyEntry& entry_of(const Site& site, uint32_t key) {
  return site.keys->entry[key_slot(key)];
}

[[gnu::always_inline]] inline bool valid(const Site& site, const KeyEntry& entry, uint32_t key) {
  return key != 0 && entry.key.load(std::memory_order_seq_cst) == key &&
         site.segment->invalidated[key_slot(key)].load(std::memory_order_relaxed) != key;
}

// The entry of a valid key, or nullptr.
inline const KeyEntry* find_key(const Site& site, uint32_t key) {
  const KeyEntry& entry = entry_of(site, key);
  return valid(site, entry, key) ? &entry : nullptr;
}

// Whether the entry is of that domain, and allows that access to these bytes.
[[gnu::always_inline]] inline bool allows(const KeyEntry& entry, uint32_t pd, uint64_t address,
                                          uint64_t bytes, uint32_t access) {
  // Of an address before the region, too large for any region.
  const uint64_t offset = address - entry.iova;
  return entry.pd == pd && (entry.access & access) == access && bytes <= entry.length &&
         offset <= entry.length - bytes;
}

[[gnu::always_inline]] inline Span span_of(Site& site, const KeyEntry& entry, uint64_t address,
                                           uint64_t bytes) {
  const uint64_t offset = address - entry.iova;
  Span span{entry.base + offset, bytes, nullptr};
  if (site.self) [[unlikely]] {
    span.mapped = reinterpret_cast<uint8_t*>(span.address);
  } else if (entry.map_id != 0) {
    span.mapped = site.mapped(entry.map_fd, entry.map_id, entry.map_offset + offset, bytes);
  }
  return span;
}

// For a local key: access 0 reads.
inline const KeyEntry* find_region(const Site& site, uint32_t lkey, uint32_t pd, uint64_t address,
                                   uint64_t bytes, uint32_t access) {
  const KeyEntry* entry = find_key(site, lkey);
  return entry && entry->kind == key_region && allows(*entry, pd, address, bytes, access) ? entry
                                                                                          : nullptr;
}
inline bool resolve_local(Site& site, uint32_t lkey, uint32_t pd, uint64_t address, uint64_t bytes,
                          uint32_t access, Span* span) {
  const KeyEntry* entry = find_region(site, lkey, pd, address, bytes, access);
  if (!entry) return false;
  *span = span_of(site, *entry, address, bytes);
  return true;
}

[[gnu::always_inline]] inline bool allows_remote(const KeyEntry& entry, uint32_t pd,
                                                 uint32_t qp_num, uint64_t address, uint64_t bytes,
                                                 uint32_t access) {
  // A type 2B window belongs to one queue pair (InfiniBand Vol. 1, 10.6.7.2.5).
  return allows(entry, pd, address, bytes, access) &&
         (entry.kind != key_window_2 || entry.qp_num == qp_num);
}

// For a key that came in a message (InfiniBand Vol. 1, 9.4.1.4 and 10.6.3).
inline bool resolve_remote(Site& site, uint32_t rkey, uint32_t pd, uint32_t qp_num,
                           uint64_t address, uint64_t bytes, uint32_t access, Span* span) {
  const KeyEntry* entry = find_key(site, rkey);
  if (!entry || !allows_remote(*entry, pd, qp_num, address, bytes, access)) return false;
  *span = span_of(site, *entry, address, bytes);
  return true;
}

}  // namespace softhca
