// The registration cache: registering is a call of the kernel that pins pages, so what was
// registered once stays so, idle, until its memory goes or room is needed.
//
//   holding  a memory, with the entries that are registered of it
//   entry    one registration: a span or an exact one; in use while it has users, else idle
//   span     covers whole pages, cut to the memory. Spans of one holding are disjoint: one that
//            would overlap or touch others takes their place.
//   exact    just the bytes that were asked for, for access that exposes them to a peer
//   retired  no longer found, because a merge or the end of its memory took its place while it
//            was in use; deregistered when its last user goes
//
// One thread uses a cache. After a fork it belongs to the parent: the child finds nothing in it and
// deregisters nothing, because the device would take that for the parent's wish.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "regcache/limits.h"
#include "regcache/memory.h"

namespace viaduct::regcache {

struct Entry;

struct Holding {
  std::shared_ptr<Memory> memory;
  std::map<uintptr_t, Entry*> spans;
  std::map<std::tuple<uintptr_t, uintptr_t, uint32_t>, Entry*> exact;
  size_t users = 0;
};

struct Entry {
  uint32_t id = 0;
  Range range;
  uint32_t access = 0;
  Registration registration;
  uint32_t users = 0;
  bool retired = false;
  std::shared_ptr<Holding> holding;
};

struct Options {
  Limits limits;
  // With any of these access flags an entry is exact.
  uint32_t exact_access = 0;
};

struct Counters {
  uint64_t hits = 0;
  uint64_t misses = 0;
  uint64_t merges = 0;         // spans whose place one that overlaps them took
  uint64_t evictions = 0;      // idle entries that made room
  uint64_t invalidations = 0;  // entries that ended with their memory
};

struct Usage {
  size_t entries = 0;
  size_t entries_in_use = 0;
  // Whole pages: what the kernel pins.
  size_t bytes = 0;
  size_t bytes_in_use = 0;
};

// Outside the values of errno: this process was forked from the cache's own.
constexpr int error_forked = -1;

struct Added {
  const Entry* entry = nullptr;
  int error = 0;
};

class Cache {
 public:
  // The registrar outlives the cache.
  Cache(Registrar& registrar, const Options& options);
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;
  // Deregisters everything, in use or not.
  ~Cache();

  // The holding whose memory begins there; null: there is none. It stays until the next `add`,
  // `release` or `sweep`.
  Holding* holding_at(uintptr_t begin);
  // An entry with the range and the access, and a user more; null: there is none, and nothing
  // happened.
  const Entry* find(Holding& holding, const Range& range, uint32_t access);
  // Registers for one that `find` doesn't know. The range lies in the memory. Another memory at the
  // same place is gone. ENOMEM: and nothing is idle that could be let go.
  Added add(const std::shared_ptr<Memory>& memory, const Range& range, uint32_t access);
  // False: no entry of that id has a user.
  bool release(uint32_t id);
  // Ends what belongs to memory that is gone.
  void sweep();

  const Counters& counters() const { return counters_; }
  const Usage& usage() const { return usage_; }
  const Options& options() const { return options_; }

  static constexpr uint32_t slot_bits = 20;

 private:
  using Entries = std::list<Entry>;
  struct Slot {
    Entries::iterator entry;
    bool taken = false;
    uint32_t generation = 0;
  };
  struct Wish {
    Range range;
    uint32_t access = 0;
  };

  bool is_exact(uint32_t access) const { return (access & options_.exact_access) != 0; }
  bool forked() const;
  size_t pinned_bytes(const Range& range) const;
  bool has_room(const Range& range) const;
  Range whole_pages(const Memory& memory, const Range& range) const;
  Wish merge(const Holding& holding, const Wish& wish) const;
  Added insert(const std::shared_ptr<Holding>& holding, const Wish& wish);
  int register_with_room(const std::shared_ptr<Memory>& memory, const Wish& wish,
                         Registration& made);
  bool over_limits(size_t more_entries, size_t more_bytes) const;
  void evict();
  void forget(const std::shared_ptr<Holding>& holding);
  void take_user(Entry& entry);
  void retire(Entry& entry);
  void end(Entry& entry);
  void unlist_if_empty(const Holding& holding);

  Registrar& registrar_;
  const Options options_;
  const size_t page_bytes_;
  const uint32_t forks_;
  std::unordered_map<uintptr_t, std::shared_ptr<Holding>> holdings_;
  Entries idle_;  // least recently used first
  Entries busy_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  Counters counters_;
  Usage usage_;
};

}  // namespace viaduct::regcache
