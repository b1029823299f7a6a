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

// The entry of a valid key, or nullptr.
const KeyEntry* find_key(const Site& site, uint32_t key);

// For a local key: access 0 reads.
bool resolve_local(const Site& site, uint32_t lkey, uint32_t pd, uint64_t address, uint64_t bytes,
                   uint32_t access, Span* span);
// For a key that came in a message (InfiniBand Vol. 1, 9.4.1.4 and 10.6.3).
bool resolve_remote(Site& site, uint32_t rkey, uint32_t pd, uint32_t qp_num, uint64_t address,
                    uint64_t bytes, uint32_t access, Span* span);

}  // namespace softhca
