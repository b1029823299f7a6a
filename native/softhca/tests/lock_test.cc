// Locks with two doors: one at a time inside, however favour comes and goes, and whoever dies.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "child.h"
#include "softhca/host.h"
#include "softhca/spin.h"

using namespace softhca;

namespace {

constexpr uint16_t peer_holder = 7;

// A lock of this process, and this process as a peer of itself.
struct Shared {
  SharedLock lock;
  uint64_t entered, left;
  std::atomic<uint32_t> ready;
};

struct World {
  Site self, peer;
  Shared* shared;

  World() {
    register_heavy_barrier();
    self.self = true;
    self.holder = owner_holder;
    self.holders = std::make_unique<std::atomic<uint64_t>[]>(65536 / 64);
    peer.holder = peer_holder;
    revive_peer();
    void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(memory, MAP_FAILED);
    shared = static_cast<Shared*>(memory);
  }
  ~World() { munmap(shared, 4096); }

  void revive_peer() { self.holders[0].store(1ull << peer_holder); }
  void bury_peer() {
    seize(shared->lock, peer_holder, self);
    reclaim(shared->lock, peer_holder);
    self.holders[0].store(0);
  }

  // True if nobody else was inside meanwhile.
  bool visit(const Site& as) {
    if (!enter(shared->lock, as)) return false;
    const bool alone = shared->entered == shared->left;
    ++shared->entered;
    ++shared->left;
    unlock(shared->lock, as);
    return alone;
  }
  uint32_t favoured() const { return shared->lock.favour.who.load(); }
};

constexpr int long_streak = 20;

}  // namespace

TEST(Lock, who_comes_again_and_again_is_favoured_until_another_comes) {
  World world;
  for (int i = 0; i < long_streak; ++i) EXPECT_TRUE(world.visit(world.peer));
  if (!heavy_barrier_works()) GTEST_SKIP() << "membarrier(2) is not to be had: nobody is favoured";
  EXPECT_EQ(world.favoured(), visitor(peer_holder));
  const uint64_t front = world.shared->lock.front.load();
  EXPECT_TRUE(world.visit(world.peer));
  EXPECT_EQ(world.shared->lock.front.load(), front) << "the favoured one uses the side door";
  EXPECT_TRUE(world.visit(world.self));
  EXPECT_EQ(world.favoured(), favour_nobody);
  for (int i = 0; i < long_streak / 2; ++i) EXPECT_TRUE(world.visit(world.peer));
  EXPECT_EQ(world.favoured(), favour_nobody) << "the second time it takes longer";
}

TEST(Lock, one_at_a_time_is_inside_while_favour_comes_and_goes) {
  World world;
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 100; ++round) {
        for (int turn = 0; turn < (i == 0 ? 200 : 2); ++turn)
          if (!world.visit(i % 2 ? world.self : world.peer)) ++failures;
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(world.shared->left, 100u * (200 + 3 * 2));
}

TEST(Lock, of_one_process_lets_one_thread_in_at_a_time) {
  SpinLock lock;
  register_heavy_barrier();
  uint64_t count = 0;
  std::vector<std::thread> threads;
  std::atomic<uint64_t> tried{0};
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 100; ++round) {
        for (int turn = 0; turn < (i == 0 ? 200 : 2); ++turn) {
          if (i < 3) {
            lock.lock();
          } else if (!lock.try_lock()) {
            continue;
          }
          ++count;
          ++tried;
          lock.unlock();
        }
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(count, tried);
}

TEST(Lock, waiting_for_those_inside_waits_for_the_favoured_one_too) {
  World world;
  for (int i = 0; i < long_streak; ++i) EXPECT_TRUE(world.visit(world.peer));
  ASSERT_TRUE(enter(world.shared->lock, world.peer));
  std::atomic<bool> over{false};
  std::thread waiter([&] {
    heavy_barrier();
    await_exit(world.shared->lock, world.self);
    over = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(over);
  unlock(world.shared->lock, world.peer);
  waiter.join();
}

TEST(Lock, what_was_mended_for_a_dead_favourite_is_seen_by_the_next_inside) {
  World world;
  for (int i = 0; i < long_streak; ++i) EXPECT_TRUE(world.visit(world.peer));
  if (!heavy_barrier_works()) GTEST_SKIP() << "membarrier(2) is not to be had: nobody is favoured";
  ASSERT_TRUE(enter(world.shared->lock, world.peer)) << "where it dies";
  // Tells the order without making anything seen: only the lock may do that.
  std::atomic<bool> mended{false};
  std::thread agent([&] {
    ASSERT_TRUE(seize(world.shared->lock, peer_holder, world.self));
    world.shared->left = world.shared->entered;
    reclaim(world.shared->lock, peer_holder);
    mended.store(true, std::memory_order_relaxed);
  });
  while (!mended.load(std::memory_order_relaxed)) std::this_thread::yield();
  EXPECT_TRUE(world.visit(world.self));
  agent.join();
}

TEST(Lock, a_process_killed_at_any_moment_leaves_it_to_the_others) {
  unsigned seed = std::random_device{}();
  if (const char* given = getenv("SOFTHCA_SEED")) seed = unsigned(strtoul(given, nullptr, 0));
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  World world;
  for (int round = 0; round < 30; ++round) {
    world.revive_peer();
    world.shared->ready = 0;
    Child child([&](int, int) {
      for (uint64_t i = 1;; ++i) {
        world.visit(world.peer);
        if (i == 100) world.shared->ready = 1;
      }
    });
    while (world.shared->ready == 0) std::this_thread::yield();
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 2000);
    const bool contend = random() % 2;
    while (std::chrono::steady_clock::now() < until)
      if (contend) EXPECT_TRUE(world.visit(world.self));
    ASSERT_EQ(kill(child.pid, SIGKILL), 0);
    child.finish();
    world.bury_peer();
    // It may have been inside.
    world.shared->left = world.shared->entered;
    const auto before = std::chrono::steady_clock::now();
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(world.visit(world.self));
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(4))
        << "the dead one's lock was waited for";
    if (HasFailure()) break;
  }
}
