// Memory that other processes can map: pieces of one file.
#include "aperture/shared_memory.h"

#include <dirent.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <vector>

namespace viaduct::aperture {
namespace {

size_t open_descriptors() {
  DIR* directory = opendir("/proc/self/fd");
  size_t count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

std::unique_ptr<SharedMemory> allocate(size_t size_bytes) {
  SystemError error;
  auto memory = SharedMemory::allocate(size_bytes, error);
  EXPECT_FALSE(error) << error.call;
  return memory;
}

bool is_zero(const SharedMemory& memory) {
  return std::all_of(memory.data(), memory.data() + memory.size_bytes(),
                     [](std::byte byte) { return byte == std::byte{}; });
}

TEST(SharedMemory, HasWholePagesOfItsOwn) {
  const auto first = allocate(1), second = allocate(5000);
  EXPECT_EQ(first->size_bytes(), 4096U);
  EXPECT_EQ(second->size_bytes(), 8192U);
  std::fill_n(first->data(), first->size_bytes(), std::byte{1});
  EXPECT_TRUE(is_zero(*second));
}

TEST(SharedMemory, CostsNoMoreDescriptorsHoweverMuchThereIs) {
  const auto first = allocate(4096);
  const size_t before = open_descriptors();
  std::vector<std::unique_ptr<SharedMemory>> pieces;
  for (int i = 0; i < 500; ++i) pieces.push_back(allocate(4096));
  EXPECT_EQ(open_descriptors(), before);
}

TEST(SharedMemory, IsZeroedAgainWhenItsPlaceIsUsedAgain) {
  // Freed out of order, so that ranges merge on both sides.
  for (int round = 0; round < 10; ++round) {
    std::vector<std::unique_ptr<SharedMemory>> pieces;
    for (size_t i = 0; i < 20; ++i) pieces.push_back(allocate(4096 * (i % 3 + 1)));
    for (const auto& piece : pieces) {
      ASSERT_TRUE(is_zero(*piece));
      std::fill_n(piece->data(), piece->size_bytes(), std::byte{0xff});
    }
    for (size_t i = 0; i < pieces.size(); i += 2) pieces[i].reset();
  }
}

TEST(SharedMemory, SaysWhenThereIsNoRoom) {
  SystemError error;
  EXPECT_EQ(SharedMemory::allocate((size_t{1} << 36) + 1, error), nullptr);
  EXPECT_EQ(error.error, ENOMEM);
  error = {};
  EXPECT_EQ(SharedMemory::allocate(SIZE_MAX, error), nullptr);
  EXPECT_EQ(error.error, ENOMEM);
}

}  // namespace
}  // namespace viaduct::aperture
