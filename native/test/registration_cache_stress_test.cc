// Registration caches at random, under threads, on the software HCA itself.
#include <gtest/gtest.h>
#include <infiniband/verbs.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "regcache/cache.h"
#include "test/fake_memory.h"
#include "verbs/provider.h"

// The build says where the software HCA is; without it, the loader's search finds one.
#ifndef SOFTWARE_HCA
#define SOFTWARE_HCA "libviaduct-softhca.so"
#endif

namespace viaduct::regcache {
namespace {

// Registers with the software HCA.
struct DeviceRegistrar final : Registrar {
  DeviceRegistrar(const verbs::Provider& provider, ibv_pd* pd) : provider(provider), pd(pd) {}
  int add(const std::shared_ptr<Memory>&, const Range& range, uint32_t access,
          Registration& made) override {
    ibv_mr* mr = provider.ibv_reg_mr(pd, reinterpret_cast<void*>(range.begin), range.size_bytes(),
                                     static_cast<int>(access));
    if (mr == nullptr) return errno;
    made = {++last, mr->lkey, mr->rkey};
    live[last] = mr;
    return 0;
  }
  void remove(const Registration& registration) override {
    const auto found = live.find(registration.handle);
    ASSERT_NE(found, live.end());
    EXPECT_EQ(provider.ibv_dereg_mr(found->second), 0);
    live.erase(found);
  }
  const verbs::Provider& provider;
  ibv_pd* const pd;
  std::map<uint32_t, ibv_mr*> live;
  uint32_t last = 0;
};

// What random use must never bring about, checked after each step.
void use_at_random(const verbs::Provider& provider, ibv_pd* pd, std::vector<char>& bytes,
                   uint32_t seed) {
  std::mt19937 random(seed);
  DeviceRegistrar registrar(provider, pd);
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  {
    Cache cache(registrar, {{16, 64 * page}, exact_access});
    std::vector<std::shared_ptr<FakeMemory>> memories;
    const size_t share = bytes.size() / 4;
    for (size_t i = 0; i < 4; ++i) {
      const uintptr_t start = begin + i * share;
      memories.push_back(std::make_shared<FakeMemory>(Range{start, start + share}));
    }
    std::vector<const Entry*> used;
    for (int step = 0; step < 3000; ++step) {
      const uint32_t what = random() % 8;
      if (what == 0) {
        auto& memory = memories[random() % 4];
        memory->is_gone = true;
        if (random() % 2 == 0) cache.sweep();
        memory = std::make_shared<FakeMemory>(memory->range);
      } else if (what <= 3 && !used.empty()) {
        const size_t which = random() % used.size();
        ASSERT_TRUE(cache.release(used[which]->id)) << "seed " << seed << " step " << step;
        used.erase(used.begin() + static_cast<ptrdiff_t>(which));
      } else if (used.size() < 12) {
        const auto& memory = memories[random() % 4];
        const size_t offset = random() % share;
        const size_t length = 1 + random() % std::min(share - offset, 8 * page);
        const Range range = {memory->range.begin + offset, memory->range.begin + offset + length};
        const uint32_t access = random() % 2 == 0 ? local : remote;
        Holding* holding = cache.holding_at(memory->range.begin);
        const Entry* entry = holding != nullptr && holding->memory == memory
                                 ? cache.find(*holding, range, access)
                                 : nullptr;
        if (entry == nullptr) entry = cache.add(memory, range, access).entry;
        ASSERT_NE(entry, nullptr) << "seed " << seed << " step " << step;
        ASSERT_TRUE(entry->range.covers(range));
        ASSERT_TRUE(memory->range.covers(entry->range));
        ASSERT_TRUE(access == local || entry->range == range);
        used.push_back(entry);
      }
      for (const Entry* entry : used) {
        const auto found = registrar.live.find(entry->registration.handle);
        ASSERT_NE(found, registrar.live.end()) << "seed " << seed << " step " << step;
        ASSERT_EQ(found->second->lkey, entry->registration.lkey);
      }
      const Usage& usage = cache.usage();
      ASSERT_EQ(usage.entries, registrar.live.size());
      ASSERT_LE(usage.entries - usage.entries_in_use, 16u);
      ASSERT_TRUE(usage.entries_in_use > 0 || usage.bytes <= 64 * page);
    }
  }
  EXPECT_TRUE(registrar.live.empty());
}

TEST(RegistrationCacheStress, ThreadsWithCachesOfTheirOwnOverTheSameMemory) {
  std::string problem;
  const auto provider = verbs::Provider::load(SOFTWARE_HCA, problem);
  ASSERT_NE(provider, nullptr) << problem;
  ibv_device** list = provider->ibv_get_device_list(nullptr);
  ASSERT_NE(list, nullptr);
  ibv_context* context = provider->ibv_open_device(list[0]);
  provider->ibv_free_device_list(list);
  ASSERT_NE(context, nullptr);
  ibv_pd* pd = provider->ibv_alloc_pd(context);
  ASSERT_NE(pd, nullptr);
  std::vector<char> bytes(256 * page);
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] { use_at_random(*provider, pd, bytes, seed + i); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(provider->ibv_dealloc_pd(pd), 0) << "no registration is left in it";
  EXPECT_EQ(provider->ibv_close_device(context), 0);
}

}  // namespace
}  // namespace viaduct::regcache
