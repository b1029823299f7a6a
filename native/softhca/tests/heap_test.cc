// The allocator of offsets.
#include "softhca/heap.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

using softhca::Heap;

TEST(Heap, gives_aligned_ranges_that_do_not_overlap_and_merges_what_comes_back) {
  constexpr uint64_t begin = 1 << 20, end = 1 << 24;
  Heap heap(begin, end);
  unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::vector<std::pair<uint64_t, uint64_t>> held;
  for (int i = 0; i < 20000; ++i) {
    if (random() % 2 || held.empty()) {
      uint64_t bytes = 1 + random() % 30000;
      uint64_t offset = heap.allocate(bytes);
      if (offset == 0) continue;
      ASSERT_EQ(offset % (bytes >= 4096 ? 4096 : 64), 0u);
      ASSERT_GE(offset, begin);
      ASSERT_LE(offset + bytes, end);
      for (auto& [other, length] : held)
        ASSERT_TRUE(offset + bytes <= other || other + length <= offset);
      held.emplace_back(offset, bytes);
    } else {
      size_t at = random() % held.size();
      heap.release(held[at].first);
      held[at] = held.back();
      held.pop_back();
    }
  }
  for (auto& [offset, bytes] : held) heap.release(offset);
  EXPECT_TRUE(heap.empty());
  EXPECT_EQ(heap.allocate(end - begin), begin);
}

TEST(Heap, refuses_what_it_has_no_room_for) {
  Heap heap(64, 64 + 4096);
  EXPECT_EQ(heap.allocate(0), 0u);
  EXPECT_EQ(heap.allocate(UINT64_MAX), 0u);
  EXPECT_EQ(heap.allocate(8192), 0u);
  EXPECT_NE(heap.allocate(4000), 0u);
  EXPECT_EQ(heap.allocate(4000), 0u);
}
