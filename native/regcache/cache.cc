#include "regcache/cache.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

namespace viaduct::regcache {

namespace {

constexpr uint32_t slot_mask = (1u << Cache::slot_bits) - 1;
// So that an id is a positive 32-bit number: JavaScript's small integers.
constexpr uint32_t generation_mask = (1u << (31 - Cache::slot_bits)) - 1;

std::atomic<uint32_t> forks = 0;

// How many forks lie between this process and the one that asked first. getpid() would be a system
// call for each hit.
uint32_t count_forks() {
  static const int watching =
      pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
  (void)watching;
  return forks.load(std::memory_order_relaxed);
}

auto exact_key(const Range& range, uint32_t access) {
  return std::tuple(range.begin, range.end, access);
}

}  // namespace

Cache::Cache(Registrar& registrar, const Options& options)
    : registrar_(registrar),
      options_(options),
      page_bytes_(static_cast<size_t>(sysconf(_SC_PAGESIZE))),
      forks_(count_forks()) {}

Cache::~Cache() {
  for (Entries* entries : {&busy_, &idle_}) {
    while (!entries->empty()) {
      Entry& entry = entries->front();
      const bool in_use = entry.users > 0;
      retire(entry);
      if (in_use) end(entry);
    }
  }
}

bool Cache::forked() const { return forks.load(std::memory_order_relaxed) != forks_; }

size_t Cache::pinned_bytes(const Range& range) const {
  const uintptr_t begin = range.begin & ~(page_bytes_ - 1);
  return ((range.end + page_bytes_ - 1) & ~(page_bytes_ - 1)) - begin;
}

Range Cache::whole_pages(const Memory& memory, const Range& range) const {
  const Range all = memory.bytes();
  return {std::max(all.begin, range.begin & ~(page_bytes_ - 1)),
          std::min(all.end, (range.end + page_bytes_ - 1) & ~(page_bytes_ - 1))};
}

// Beside what is in use, and with what is idle let go.
bool Cache::has_room(const Range& range) const {
  return usage_.bytes_in_use + pinned_bytes(range) <= options_.limits.bytes;
}

Holding* Cache::holding_at(uintptr_t begin) {
  const auto found = holdings_.find(begin);
  return found == holdings_.end() ? nullptr : found->second.get();
}

const Entry* Cache::find(Holding& holding, const Range& range, uint32_t access) {
  if (forked()) return nullptr;
  Entry* entry = nullptr;
  if (is_exact(access)) {
    const auto found = holding.exact.find(exact_key(range, access));
    if (found != holding.exact.end()) entry = found->second;
  } else if (auto next = holding.spans.upper_bound(range.begin); next != holding.spans.begin()) {
    Entry* before = std::prev(next)->second;
    if (before->range.covers(range) && (before->access & access) == access) entry = before;
  }
  if (entry == nullptr) return nullptr;
  ++counters_.hits;
  take_user(*entry);
  return entry;
}

Added Cache::add(const std::shared_ptr<Memory>& memory, const Range& range, uint32_t access) {
  if (forked()) return {nullptr, error_forked};
  ++counters_.misses;
  std::shared_ptr<Holding> holding;
  if (const auto found = holdings_.find(memory->bytes().begin); found != holdings_.end()) {
    holding = found->second;
    if (holding->memory != memory) forget(std::exchange(holding, nullptr));
  }
  if (holding == nullptr) {
    holding = std::make_shared<Holding>();
    holding->memory = memory;
  }
  if (is_exact(access)) return insert(holding, {range, access});
  const Wish asked = {whole_pages(*memory, range), access};
  const Wish merged = merge(*holding, asked);
  if (merged.range != asked.range && has_room(merged.range)) {
    const Added added = insert(holding, merged);
    // What is merged may be more than the device or the limits let pass.
    if (added.error == 0) return added;
  }
  return insert(holding, asked);
}

// The wish grown to take in the spans that it overlaps or touches. A program that walks through
// memory would register all that lies behind it again at each step, so what is merged at least
// doubles: each page is registered a bounded number of times.
Cache::Wish Cache::merge(const Holding& holding, const Wish& wish) const {
  Wish merged = wish;
  const auto take_in = [&] {
    Range met = {UINTPTR_MAX, 0};
    auto next = holding.spans.upper_bound(merged.range.begin);
    if (next != holding.spans.begin() && std::prev(next)->second->range.end >= merged.range.begin) {
      --next;
    }
    for (; next != holding.spans.end() && next->first <= merged.range.end; ++next) {
      const Entry& span = *next->second;
      met = {std::min(met.begin, span.range.begin), std::max(met.end, span.range.end)};
      merged.range = {std::min(merged.range.begin, span.range.begin),
                      std::max(merged.range.end, span.range.end)};
      merged.access |= span.access;
    }
    return met;
  };
  const Range met = take_in();
  if (met.end == 0) return merged;
  const size_t doubled = 2 * met.size_bytes();
  Range grown = merged.range;
  if (wish.range.end > met.end) grown.end = std::max(grown.end, grown.begin + doubled);
  if (wish.range.begin < met.begin && grown.end > doubled) {
    grown.begin = std::min(grown.begin, grown.end - doubled);
  }
  grown = whole_pages(*holding.memory, grown);
  if (!has_room(grown)) return merged;
  merged.range = grown;
  take_in();
  return merged;
}

Added Cache::insert(const std::shared_ptr<Holding>& holding, const Wish& wish) {
  const bool exact = is_exact(wish.access);
  if (!exact) {
    auto span = holding->spans.upper_bound(wish.range.begin);
    if (span != holding->spans.begin() && std::prev(span)->second->range.end > wish.range.begin) {
      --span;
    }
    while (span != holding->spans.end() && span->first < wish.range.end) {
      Entry& other = *(span++)->second;
      ++counters_.merges;
      retire(other);
    }
  }
  if (free_.empty() && slots_.size() > slot_mask) return {nullptr, ENOMEM};
  Registration made;
  if (const int error = register_with_room(holding->memory, wish, made); error != 0) {
    return {nullptr, error};
  }
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  idle_.push_front({});
  Slot& slot = slots_[index];
  slot.taken = true;
  slot.entry = idle_.begin();
  slot.generation = (slot.generation + 1) & generation_mask;
  Entry& entry = *slot.entry;
  entry.id = slot.generation << slot_bits | index;
  entry.range = wish.range;
  entry.access = wish.access;
  entry.registration = made;
  entry.holding = holding;
  if (exact) {
    holding->exact.emplace(exact_key(wish.range, wish.access), &entry);
  } else {
    holding->spans.emplace(wish.range.begin, &entry);
  }
  holdings_.insert_or_assign(holding->memory->bytes().begin, holding);
  ++usage_.entries;
  usage_.bytes += pinned_bytes(wish.range);
  take_user(entry);
  return {&entry, 0};
}

int Cache::register_with_room(const std::shared_ptr<Memory>& memory, const Wish& wish,
                              Registration& made) {
  while (!idle_.empty() && over_limits(1, pinned_bytes(wish.range))) evict();
  for (;;) {
    const int error = registrar_.add(memory, wish.range, wish.access, made);
    // The limit of what may be pinned, or the device's own (ibv_reg_mr(3)).
    if (error != ENOMEM || idle_.empty()) return error;
    evict();
  }
}

bool Cache::over_limits(size_t more_entries, size_t more_bytes) const {
  return usage_.entries + more_entries > options_.limits.entries ||
         usage_.bytes + more_bytes > options_.limits.bytes;
}

void Cache::evict() {
  ++counters_.evictions;
  retire(idle_.front());
}

void Cache::take_user(Entry& entry) {
  if (entry.users++ > 0) return;
  busy_.splice(busy_.end(), idle_, slots_[entry.id & slot_mask].entry);
  ++usage_.entries_in_use;
  usage_.bytes_in_use += pinned_bytes(entry.range);
  if (entry.holding->users++ == 0) entry.holding->memory->hold();
}

bool Cache::release(uint32_t id) {
  const uint32_t index = id & slot_mask;
  if (index >= slots_.size() || !slots_[index].taken) return false;
  Entry& entry = *slots_[index].entry;
  if (entry.id != id || entry.users == 0) return false;
  if (--entry.users > 0) return true;
  idle_.splice(idle_.end(), busy_, slots_[index].entry);
  --usage_.entries_in_use;
  usage_.bytes_in_use -= pinned_bytes(entry.range);
  if (--entry.holding->users == 0) entry.holding->memory->let_go();
  if (entry.retired) end(entry);
  // What is in use may be more than the limits: only what is idle has to keep to them.
  while (!idle_.empty() && over_limits(0, 0)) evict();
  return true;
}

void Cache::sweep() {
  if (forked()) return;
  std::vector<std::shared_ptr<Holding>> gone;
  for (const auto& [begin, holding] : holdings_) {
    if (holding->memory->gone()) gone.push_back(holding);
  }
  for (const auto& holding : gone) forget(holding);
}

void Cache::forget(const std::shared_ptr<Holding>& holding) {
  while (!holding->spans.empty()) {
    ++counters_.invalidations;
    retire(*holding->spans.begin()->second);
  }
  while (!holding->exact.empty()) {
    ++counters_.invalidations;
    retire(*holding->exact.begin()->second);
  }
}

// Not found from now on; and ended, unless somebody uses it.
void Cache::retire(Entry& entry) {
  if (!entry.retired) {
    entry.retired = true;
    Holding& holding = *entry.holding;
    if (is_exact(entry.access)) {
      holding.exact.erase(exact_key(entry.range, entry.access));
    } else {
      holding.spans.erase(entry.range.begin);
    }
    unlist_if_empty(holding);
  }
  if (entry.users == 0) end(entry);
}

void Cache::end(Entry& entry) {
  if (!forked()) registrar_.remove(entry.registration);
  --usage_.entries;
  usage_.bytes -= pinned_bytes(entry.range);
  const uint32_t index = entry.id & slot_mask;
  Slot& slot = slots_[index];
  slot.taken = false;
  free_.push_back(index);
  (entry.users > 0 ? busy_ : idle_).erase(slot.entry);
}

void Cache::unlist_if_empty(const Holding& holding) {
  if (!holding.spans.empty() || !holding.exact.empty()) return;
  const auto found = holdings_.find(holding.memory->bytes().begin);
  if (found != holdings_.end() && found->second.get() == &holding) holdings_.erase(found);
}

}  // namespace viaduct::regcache
