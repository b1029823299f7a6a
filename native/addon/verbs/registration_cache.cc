// Registration caches: acquiring and releasing what is cached are functions that V8 calls itself.
#include <cerrno>
#include <utility>

#include "addon/v8_function.h"
#include "addon/verbs/cached_memory.h"
#include "addon/verbs/environment.h"
#include "regcache/cache.h"
#include "verbs/register_memory.h"

namespace viaduct::addon {

namespace {

using verbs::Domain;
using verbs::Region;

// What keeps a region's memory and knows whether posts may name it.
struct CachedBacking final : verbs::Backing {
  explicit CachedBacking(std::shared_ptr<CachedMemory> memory) : memory(std::move(memory)) {}
  bool attached() const override { return memory->attached(); }
  const std::shared_ptr<CachedMemory> memory;
};

// Regions of the domain, among the thread's objects as any others.
class RegionRegistrar final : public regcache::Registrar {
 public:
  RegionRegistrar(verbs::Objects& objects, Domain& domain) : objects_(objects), domain_(domain) {}

  int add(const std::shared_ptr<regcache::Memory>& memory, const regcache::Range& range,
          uint32_t access, regcache::Registration& made) override {
    ibv_mr* mr = verbs::register_memory(domain_, reinterpret_cast<void*>(range.begin),
                                        range.size_bytes(), nullptr, access);
    if (mr == nullptr) return errno;
    auto cached = std::static_pointer_cast<CachedMemory>(memory);
    const bool detachable = !cached->shared();
    Region* region = objects_.add(
        std::make_unique<Region>(domain_, mr, std::make_unique<CachedBacking>(std::move(cached))));
    if (detachable) region->enlist();
    made = {region->handle, mr->lkey, mr->rkey};
    return 0;
  }

  // A region that the device refuses to give up stays the thread's until it ends, with its memory.
  void remove(const regcache::Registration& registration) override {
    (void)objects_.destroy(registration.handle);
  }

 private:
  verbs::Objects& objects_;
  Domain& domain_;
};

struct RegistrationCache final : verbs::Object {
  static constexpr verbs::Kind its_kind = verbs::Kind::registration_cache;
  RegistrationCache(verbs::Objects& objects, Domain& domain, const regcache::Options& options)
      : Object(its_kind, domain.provider), registrar(objects, domain) {
    cache = std::make_unique<regcache::Cache>(registrar, options);
  }
  int destroy() override {
    cache.reset();
    return 0;
  }

  RegionRegistrar registrar;
  // ArrayBuffers collected since the cache was last swept.
  const std::shared_ptr<uint32_t> collected = std::make_shared<uint32_t>(0);
  std::unique_ptr<regcache::Cache> cache;
};

RegistrationCache* cache_at(const V8Call& call) {
  return data_of<VerbsEnvironment>(call).objects.find<RegistrationCache>(uint32_at(call, 0));
}

constexpr uint32_t remote_access =
    IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

// (pd, most entries, most bytes, whether peers are trusted); undefined: the system's default
Napi::Value create_registration_cache(const Napi::CallbackInfo& info) {
  auto* domain = object_at<Domain>(info, 0);
  if (domain == nullptr) return throw_closed(info.Env(), "ibv_reg_mr");
  regcache::Options options;
  options.limits = regcache::default_limits(regcache::pinning_rules());
  if (info[1].IsNumber()) options.limits.entries = static_cast<size_t>(uint64_of(info[1]));
  if (info[2].IsNumber()) options.limits.bytes = static_cast<size_t>(uint64_of(info[2]));
  options.exact_access = info[3].ToBoolean() ? 0 : remote_access;
  return adopt(info,
               std::make_unique<RegistrationCache>(environment_of(info).objects, *domain, options));
}

// (cache, memory, access): the id of an entry, with a user more; -1: it is to be registered
void acquire_cached(const V8Call& call) {
  constexpr int32_t miss = -1;
  int32_t id = miss;
  auto* held = cache_at(call);
  const BufferPart part = BufferPart::of(call[1]);
  if (held != nullptr && part.data != 0) {
    regcache::Holding* holding = held->cache->holding_at(part.data);
    if (holding != nullptr && static_cast<CachedMemory&>(*holding->memory).is(part)) {
      const auto* entry = held->cache->find(*holding, part.range(), uint32_at(call, 2));
      if (entry != nullptr) id = static_cast<int32_t>(entry->id);
    }
  }
  call.GetReturnValue().Set(id);
}

// (cache, id): whether it had a user
void release_cached(const V8Call& call) {
  auto* held = cache_at(call);
  call.GetReturnValue().Set(held != nullptr && held->cache->release(uint32_at(call, 1)));
}

void sweep(RegistrationCache& held) {
  if (*held.collected == 0) return;
  *held.collected = 0;
  held.cache->sweep();
}

// (cache, memory, access): after acquire_cached found none; what was registered, with a user
Napi::Value register_cached(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto* held = object_at<RegistrationCache>(info, 0);
  if (held == nullptr) return throw_closed(env, "ibv_reg_mr");
  const BufferPart part = BufferPart::of(local_from(info[1]));
  if (part.data == 0 || part.offset + part.length > part.buffer_bytes()) {
    return throw_verbs_error(env, "ibv_reg_mr", EFAULT);
  }
  sweep(*held);
  std::shared_ptr<regcache::Memory> memory;
  if (const auto* holding = held->cache->holding_at(part.data);
      holding != nullptr && static_cast<CachedMemory&>(*holding->memory).is(part)) {
    memory = holding->memory;
  } else {
    memory = std::make_shared<CachedMemory>(part, held->collected);
  }
  const auto [entry, error] = held->cache->add(memory, part.range(), uint32_at(info, 2));
  if (error == regcache::error_forked) return throw_verbs_error(env, "fork", EPERM);
  if (error != 0) return throw_verbs_error(env, "ibv_reg_mr", error);
  Napi::Object result = Napi::Object::New(env);
  set_number(result, "id", entry->id);
  set_number(result, "lkey", entry->registration.lkey);
  set_number(result, "rkey", entry->registration.rkey);
  set_bigint(result, "address", entry->range.begin);
  set_number(result, "byteOffset", static_cast<double>(entry->range.begin - part.data));
  set_number(result, "byteLength", static_cast<double>(entry->range.size_bytes()));
  return result;
}

// (cache)
Napi::Value sweep_cached(const Napi::CallbackInfo& info) {
  auto* held = object_at<RegistrationCache>(info, 0);
  if (held != nullptr) sweep(*held);
  return info.Env().Undefined();
}

// (cache)
Napi::Value cache_statistics(const Napi::CallbackInfo& info) {
  auto* held = object_at<RegistrationCache>(info, 0);
  if (held == nullptr) return throw_closed(info.Env(), "cache.stats");
  const auto& [limits, exact_access] = held->cache->options();
  const regcache::Counters& counters = held->cache->counters();
  const regcache::Usage& usage = held->cache->usage();
  const std::pair<const char*, uint64_t> fields[] = {{"hits", counters.hits},
                                                     {"misses", counters.misses},
                                                     {"merges", counters.merges},
                                                     {"evictions", counters.evictions},
                                                     {"invalidations", counters.invalidations},
                                                     {"entries", usage.entries},
                                                     {"entriesInUse", usage.entries_in_use},
                                                     {"bytes", usage.bytes},
                                                     {"bytesInUse", usage.bytes_in_use},
                                                     {"maxEntries", limits.entries},
                                                     {"maxBytes", limits.bytes}};
  Napi::Object result = Napi::Object::New(info.Env());
  for (const auto& [name, value] : fields) set_number(result, name, static_cast<double>(value));
  return result;
}

// RLIMIT_MEMLOCK; null: there is none for this process
Napi::Value memlock_bytes(const Napi::CallbackInfo& info) {
  const regcache::PinningRules rules = regcache::pinning_rules();
  if (rules.unlimited) return info.Env().Null();
  return Napi::Number::New(info.Env(), static_cast<double>(rules.memlock_bytes));
}

}  // namespace

void export_verbs_registration_cache(Napi::Env env, Napi::Object exports,
                                     VerbsEnvironment& environment) {
  define(env, exports, environment, "createRegistrationCache", create_registration_cache);
  define(env, exports, environment, "registerCached", register_cached);
  define(env, exports, environment, "sweepCached", sweep_cached);
  define(env, exports, environment, "cacheStatistics", cache_statistics);
  define(env, exports, environment, "memlockBytes", memlock_bytes);
  if (!define_v8_function(exports, "acquireCached", acquire_cached, &environment)) return;
  (void)define_v8_function(exports, "releaseCached", release_cached, &environment);
}

}  // namespace viaduct::addon
