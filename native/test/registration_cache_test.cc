// The registration cache, a test for each rule, against a registrar that records what it is asked.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "regcache/cache.h"
#include "regcache/limits.h"
#include "test/fake_memory.h"

namespace viaduct::regcache {
namespace {

struct FakeRegistrar final : Registrar {
  int add(const std::shared_ptr<Memory>& memory, const Range& range, uint32_t,
          Registration& made) override {
    ++asked;
    size_t pinned = range.size_bytes();
    for (const auto& [handle, each] : live) pinned += each.second.size_bytes();
    if (pinned > pinnable || live.size() >= countable) return ENOMEM;
    if (error != 0) return error;
    made = {++last, last + 1000, last + 2000};
    live[last] = {memory, range};
    return 0;
  }
  void remove(const Registration& registration) override {
    EXPECT_EQ(live.erase(registration.handle), 1u) << "deregistered twice";
  }

  std::map<uint32_t, std::pair<std::shared_ptr<Memory>, Range>> live;
  size_t pinnable = SIZE_MAX;
  size_t countable = SIZE_MAX;
  int error = 0;
  uint32_t last = 0;
  int asked = 0;
};

class RegistrationCache : public ::testing::Test {
 protected:
  static std::shared_ptr<FakeMemory> memory_at(uintptr_t begin, size_t size_bytes = 1024 * page) {
    return std::make_shared<FakeMemory>(Range{begin, begin + size_bytes});
  }
  // As the addon asks: find, else add.
  static Added get(Cache& cache, const std::shared_ptr<FakeMemory>& memory, size_t offset,
                   size_t length, uint32_t access = local) {
    const Range range = {memory->range.begin + offset, memory->range.begin + offset + length};
    Holding* holding = cache.holding_at(memory->range.begin);
    if (holding != nullptr && holding->memory == memory) {
      if (const Entry* entry = cache.find(*holding, range, access)) return {entry, 0};
    }
    return cache.add(memory, range, access);
  }
  Added get(size_t offset, size_t length, uint32_t access = local) {
    return get(cache, memory, offset, length, access);
  }
  // Used for a moment.
  void touch(size_t offset, size_t length, uint32_t access = local) {
    const Added added = get(offset, length, access);
    ASSERT_EQ(added.error, 0);
    EXPECT_TRUE(cache.release(added.entry->id));
  }
  Range pages(size_t first, size_t count) const {
    return {memory->range.begin + first * page, memory->range.begin + (first + count) * page};
  }

  FakeRegistrar registrar;
  std::shared_ptr<FakeMemory> memory = memory_at(1 << 20);
  Cache cache{registrar, {{64, 512 * page}, exact_access}};
};

TEST_F(RegistrationCache, WhatWasRegisteredOnceIsFoundAgain) {
  const Added first = get(0, 100);
  ASSERT_EQ(first.error, 0);
  const Added second = get(8, 50);
  EXPECT_EQ(second.entry, first.entry);
  EXPECT_EQ(first.entry->users, 2u);
  EXPECT_EQ(registrar.asked, 1);
  EXPECT_EQ(cache.counters().hits, 1u);
  EXPECT_EQ(cache.counters().misses, 1u);
}

TEST_F(RegistrationCache, IdleRegistrationsAreKept) {
  touch(0, 100);
  EXPECT_EQ(registrar.live.size(), 1u);
  touch(0, 100);
  EXPECT_EQ(registrar.asked, 1);
}

TEST_F(RegistrationCache, LocalAccessRegistersWholePages) {
  EXPECT_EQ(get(page + 1, 2 * page).entry->range, pages(1, 3));
}

TEST_F(RegistrationCache, NothingBesideTheMemoryIsRegistered) {
  // Its neighbours in the heap are somebody else's.
  const auto small = memory_at(5 * page + 16, 100);
  EXPECT_EQ(get(cache, small, 10, 20).entry->range, small->range);
  EXPECT_EQ(cache.usage().bytes, page) << "what is pinned is the page";
}

TEST_F(RegistrationCache, OverlappingRangesBecomeOneRegistration) {
  touch(0, 3 * page);
  const Added merged = get(2 * page, 3 * page);
  EXPECT_TRUE(merged.entry->range.covers(pages(0, 5)));
  EXPECT_EQ(registrar.live.size(), 1u);
  EXPECT_EQ(cache.counters().merges, 1u);
  touch(0, 3 * page);
  EXPECT_EQ(registrar.asked, 2);
}

TEST_F(RegistrationCache, AdjacentRangesBecomeOneRegistration) {
  touch(4 * page, page);
  touch(5 * page, page);
  touch(3 * page, page);
  EXPECT_EQ(registrar.live.size(), 1u);
  touch(3 * page, 3 * page);
  EXPECT_EQ(registrar.asked, 3);
}

TEST_F(RegistrationCache, ARangeBetweenTwoJoinsThem) {
  touch(0, page);
  touch(2 * page, page);
  EXPECT_EQ(registrar.live.size(), 2u);
  touch(page, page);
  EXPECT_EQ(registrar.live.size(), 1u);
  EXPECT_EQ(cache.counters().merges, 2u);
}

TEST_F(RegistrationCache, RangesApartStayApart) {
  touch(0, page);
  touch(2 * page, page);
  EXPECT_EQ(registrar.live.size(), 2u);
  EXPECT_EQ(cache.counters().merges, 0u);
}

TEST_F(RegistrationCache, AWalkRegistersEachPageABoundedNumberOfTimes) {
  for (const bool forwards : {true, false}) {
    FakeRegistrar counting;
    Cache walked{counting, {{64, 4096 * page}, exact_access}};
    for (size_t i = 0; i < 1024; ++i) {
      const Added added = get(walked, memory, (forwards ? i : 1023 - i) * page, page);
      ASSERT_EQ(added.error, 0);
      EXPECT_TRUE(walked.release(added.entry->id));
    }
    EXPECT_LE(counting.asked, 12);
    EXPECT_EQ(counting.live.size(), 1u);
    EXPECT_EQ(walked.usage().bytes, 1024 * page);
  }
}

TEST_F(RegistrationCache, MemoriesThatTouchAreNotMerged) {
  const auto next = memory_at(memory->range.end, page);
  touch(1023 * page, page);
  ASSERT_EQ(get(cache, next, 0, page).error, 0);
  EXPECT_EQ(registrar.live.size(), 2u);
}

TEST_F(RegistrationCache, AMergeLeavesWhatIsInUse) {
  const Added used = get(0, 2 * page);
  const uint32_t id = used.entry->id;
  const uint32_t handle = used.entry->registration.handle;
  touch(page, 2 * page);
  EXPECT_EQ(registrar.live.count(handle), 1u);
  EXPECT_TRUE(cache.release(id));
  EXPECT_EQ(registrar.live.count(handle), 0u) << "its last user was waited for";
  EXPECT_EQ(registrar.live.size(), 1u);
}

TEST_F(RegistrationCache, MergedAccessIsThatOfAll) {
  touch(0, page, 0);
  touch(page, page, local);
  const int asked = registrar.asked;
  touch(0, 2 * page, local);
  EXPECT_EQ(registrar.asked, asked);
}

TEST_F(RegistrationCache, MoreAccessThanWasRegisteredIsAMiss) {
  touch(0, page, 0);
  const Added added = get(0, page, local);
  EXPECT_EQ(added.entry->access, local);
  EXPECT_EQ(registrar.live.size(), 1u);
}

TEST_F(RegistrationCache, RemoteAccessExposesJustWhatWasAskedFor) {
  touch(0, 4 * page, local);
  touch(0, 4 * page, remote);
  const Added part = get(100, 50, remote);
  EXPECT_EQ(part.entry->range, (Range{memory->range.begin + 100, memory->range.begin + 150}));
  EXPECT_EQ(part.entry->access, remote);
  EXPECT_EQ(cache.counters().hits, 0u);
}

TEST_F(RegistrationCache, RemoteAccessIsFoundAgainByTheSameRangeAndRights) {
  touch(100, 50, remote);
  touch(100, 50, remote);
  EXPECT_EQ(cache.counters().hits, 1u);
  touch(100, 50, remote | IBV_ACCESS_REMOTE_READ);
  touch(100, 50, IBV_ACCESS_REMOTE_READ);
  EXPECT_EQ(cache.counters().hits, 1u);
  EXPECT_EQ(registrar.live.size(), 3u);
}

TEST_F(RegistrationCache, RemoteAccessMergesWherePeersAreTrusted) {
  Cache trusting{registrar, {{64, 512 * page}, 0}};
  ASSERT_EQ(get(trusting, memory, 100, 50, remote).error, 0);
  EXPECT_EQ(get(trusting, memory, 300, 50, remote).entry->range, pages(0, 1));
  EXPECT_EQ(trusting.counters().hits, 1u);
}

TEST_F(RegistrationCache, TheLeastRecentlyUsedIsEvicted) {
  Cache small{registrar, {{2, 512 * page}, exact_access}};
  const auto use = [&](size_t first) {
    const Added added = get(small, memory, first * page, page);
    EXPECT_TRUE(small.release(added.entry->id));
  };
  use(0);
  use(10);
  use(0);
  use(20);
  EXPECT_EQ(small.counters().evictions, 1u);
  EXPECT_EQ(small.usage().entries, 2u);
  use(0);
  EXPECT_EQ(small.counters().hits, 2u) << "it was used later than the other";
  use(10);
  EXPECT_EQ(small.counters().misses, 4u);
}

TEST_F(RegistrationCache, BytesAreLimitedAsEntriesAre) {
  Cache small{registrar, {{64, 4 * page}, exact_access}};
  for (size_t i = 0; i < 10; ++i) {
    const Added added = get(small, memory, 20 * i * page, 2 * page);
    EXPECT_TRUE(small.release(added.entry->id));
    EXPECT_LE(small.usage().bytes, 4 * page);
  }
  EXPECT_EQ(small.counters().evictions, 8u);
}

TEST_F(RegistrationCache, WhatIsInUseIsNeverEvicted) {
  Cache small{registrar, {{2, 2 * page}, exact_access}};
  std::vector<Added> used;
  for (size_t i = 0; i < 4; ++i) used.push_back(get(small, memory, 10 * i * page, page));
  EXPECT_EQ(registrar.live.size(), 4u) << "users get what they need, beyond the limits too";
  EXPECT_EQ(small.usage().entries_in_use, 4u);
  EXPECT_EQ(small.counters().evictions, 0u);
  for (const Added& added : used) EXPECT_TRUE(small.release(added.entry->id));
  EXPECT_EQ(registrar.live.size(), 2u) << "but only so much is kept";
}

TEST_F(RegistrationCache, AMergeThatWouldNotFitIsNotMade) {
  Cache small{registrar, {{64, 4 * page}, exact_access}};
  EXPECT_TRUE(small.release(get(small, memory, 0, 3 * page).entry->id));
  EXPECT_EQ(get(small, memory, 2 * page, 3 * page).entry->range, pages(2, 3));
  EXPECT_EQ(registrar.live.size(), 1u);
}

TEST_F(RegistrationCache, AtTheSystemsLimitIdleEntriesMakeRoom) {
  registrar.pinnable = 8 * page;
  touch(0, 3 * page);
  touch(100 * page, 3 * page);
  const Added added = get(200 * page, 4 * page);
  EXPECT_EQ(added.error, 0);
  EXPECT_EQ(cache.counters().evictions, 1u);
  EXPECT_EQ(registrar.live.size(), 2u);
}

TEST_F(RegistrationCache, WithNothingIdleTheSystemsLimitIsAnError) {
  registrar.countable = 2;
  touch(0, page);
  ASSERT_EQ(get(100 * page, page).error, 0);
  ASSERT_EQ(get(200 * page, page).error, 0);
  const Added added = get(300 * page, page);
  EXPECT_EQ(added.entry, nullptr);
  EXPECT_EQ(added.error, ENOMEM);
  EXPECT_EQ(cache.usage().entries, 2u);
}

TEST_F(RegistrationCache, AMergeThatTheSystemRefusesIsNotNeeded) {
  registrar.pinnable = 3 * page;
  const Added used = get(0, 2 * page);
  ASSERT_EQ(used.error, 0);
  const Added next = get(2 * page, page);
  EXPECT_EQ(next.error, 0);
  EXPECT_EQ(next.entry->range, pages(2, 1));
}

TEST_F(RegistrationCache, AnotherFailureOfTheDeviceEvictsNothing) {
  touch(0, page);
  registrar.error = EFAULT;
  EXPECT_EQ(get(100 * page, page).error, EFAULT);
  EXPECT_EQ(registrar.live.size(), 1u);
  registrar.error = 0;
  EXPECT_EQ(get(100 * page, page).error, 0);
}

TEST_F(RegistrationCache, MemoryIsHeldWhileAnyOfItIsInUse) {
  const Added first = get(0, page);
  const Added second = get(100, 50, remote);
  EXPECT_TRUE(memory->held);
  cache.release(first.entry->id);
  EXPECT_TRUE(memory->held);
  cache.release(second.entry->id);
  EXPECT_FALSE(memory->held);
}

TEST_F(RegistrationCache, WhatBelongsToMemoryThatIsGoneEnds) {
  touch(0, page);
  touch(100, 50, remote);
  const auto other = memory_at(1 << 28);
  ASSERT_EQ(get(cache, other, 0, page).error, 0);
  memory->is_gone = true;
  cache.sweep();
  EXPECT_EQ(registrar.live.size(), 1u);
  EXPECT_EQ(cache.counters().invalidations, 2u);
  EXPECT_EQ(memory.use_count(), 1) << "nothing keeps it allocated";
}

TEST_F(RegistrationCache, MemoryThatIsGoneStaysRegisteredUnderItsUsers) {
  const uint32_t id = get(0, page).entry->id;
  memory->is_gone = true;
  cache.sweep();
  EXPECT_EQ(registrar.live.size(), 1u);
  EXPECT_EQ(cache.holding_at(memory->range.begin), nullptr) << "but it isn't found";
  EXPECT_TRUE(cache.release(id));
  EXPECT_EQ(registrar.live.size(), 0u);
  EXPECT_EQ(memory.use_count(), 1);
}

TEST_F(RegistrationCache, AnotherMemoryAtTheSamePlaceEndsWhatWasThere) {
  touch(0, page);
  const uint32_t used = get(0, 50, remote).entry->id;
  const auto next = memory_at(memory->range.begin);
  const Added added = get(cache, next, 0, page);
  EXPECT_EQ(registrar.asked, 3) << "it was not found";
  EXPECT_EQ(cache.counters().invalidations, 2u);
  EXPECT_EQ(registrar.live.size(), 2u);
  EXPECT_TRUE(cache.release(used));
  EXPECT_EQ(registrar.live.size(), 1u);
  EXPECT_EQ(get(cache, next, 0, page).entry, added.entry);
}

TEST_F(RegistrationCache, GrownMemoryIsRegisteredWhereItGrew) {
  memory->range.end = memory->range.begin + page;
  touch(0, page);
  memory->range.end += page;
  EXPECT_EQ(get(page, page).entry->range, pages(0, 2));
}

TEST_F(RegistrationCache, EvictedMemoryIsKeptByNothing) {
  Cache small{registrar, {{1, 512 * page}, exact_access}};
  EXPECT_TRUE(small.release(get(small, memory, 0, page).entry->id));
  const auto other = memory_at(1 << 28);
  ASSERT_EQ(get(small, other, 0, page).error, 0);
  EXPECT_EQ(memory.use_count(), 1);
}

TEST_F(RegistrationCache, MoreReleasesThanUsersAreRefused) {
  const uint32_t id = get(0, page).entry->id;
  EXPECT_TRUE(cache.release(id));
  EXPECT_FALSE(cache.release(id));
  EXPECT_FALSE(cache.release(12345));
}

TEST_F(RegistrationCache, AnIdIsNotTakenForItsSuccessors) {
  Cache small{registrar, {{1, 512 * page}, exact_access}};
  const uint32_t old = get(small, memory, 0, page).entry->id;
  EXPECT_TRUE(small.release(old));
  const uint32_t next = get(small, memory, 100 * page, page).entry->id;
  EXPECT_NE(old, next);
  EXPECT_FALSE(small.release(old));
  EXPECT_TRUE(small.release(next));
}

TEST_F(RegistrationCache, ItsEndDeregistersEverything) {
  {
    Cache ended{registrar, {{64, 512 * page}, exact_access}};
    EXPECT_TRUE(ended.release(get(ended, memory, 0, page).entry->id));
    ASSERT_EQ(get(ended, memory, 100, 50, remote).error, 0);
    ASSERT_EQ(get(ended, memory, 50, 2 * page).error, 0);
  }
  EXPECT_EQ(registrar.live.size(), 0u);
  EXPECT_EQ(memory.use_count(), 1);
}

TEST_F(RegistrationCache, BytesPinnedAreCountedInPages) {
  const Added used = get(0, 3 * page);
  touch(10 * page + 100, 50, remote);
  EXPECT_EQ(cache.usage().entries, 2u);
  EXPECT_EQ(cache.usage().bytes, 4 * page);
  EXPECT_EQ(cache.usage().bytes_in_use, 3 * page);
  cache.release(used.entry->id);
  EXPECT_EQ(cache.usage().bytes_in_use, 0u);
  EXPECT_EQ(cache.usage().bytes, 4 * page);
}

TEST_F(RegistrationCache, AForkedChildUsesAndEndsNothingOfItsParents) {
  const Added used = get(0, page);
  touch(100 * page, page);
  const pid_t child = fork();
  if (child == 0) {
    const auto pristine = registrar.live.size();
    const bool refused =
        get(0, page).error == error_forked && get(200 * page, page).entry == nullptr;
    memory->is_gone = true;
    cache.sweep();
    cache.release(used.entry->id);
    const bool untouched = registrar.live.size() == pristine && registrar.asked == 2;
    // A cache of its own works.
    Cache own{registrar, {{64, 512 * page}, exact_access}};
    const bool works = get(own, memory, 0, page).error == 0;
    _exit(refused && untouched && works ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(get(0, page).entry, used.entry);
}

TEST_F(RegistrationCache, InAChildItsEndDeregistersNothing) {
  auto ended = std::make_unique<Cache>(registrar, Options{{64, 512 * page}, exact_access});
  ASSERT_EQ(get(*ended, memory, 0, page).error, 0);
  EXPECT_TRUE(ended->release(get(*ended, memory, 100 * page, page).entry->id));
  const pid_t child = fork();
  if (child == 0) {
    ended.reset();
    _exit(registrar.live.size() == 2 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(RegistrationLimits, AreHalfOfWhatTheSystemLetsBePinned) {
  constexpr size_t gib = size_t{1} << 30;
  EXPECT_EQ(default_limits({8 << 20, false, 16 * gib}).bytes, size_t{4} << 20);
  EXPECT_EQ(default_limits({SIZE_MAX, true, 16 * gib}).bytes, 4 * gib);
  EXPECT_EQ(default_limits({8 << 20, true, 16 * gib}).bytes, 4 * gib);
  EXPECT_EQ(default_limits({64 * gib, false, 16 * gib}).bytes, 4 * gib);
  EXPECT_GT(default_limits(pinning_rules()).bytes, 0u);
  EXPECT_GT(default_limits(pinning_rules()).entries, 0u);
}

}  // namespace
}  // namespace viaduct::regcache
