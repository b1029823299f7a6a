// The two ways to move bytes give the same result for any cut of both lists.
#include "softhca/path.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <vector>

using namespace softhca;

namespace {

void check_moves(bool mapped) {
  unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    size_t bytes = round < 50 ? size_t(round) + 1 : 1 + random() % 20000;
    std::vector<uint8_t> from(bytes + 4096), to(bytes + 4096, 0xee);
    for (auto& byte : from) byte = uint8_t(random());
    auto cut = [&](uint8_t* base) {
      std::vector<std::pair<uint8_t*, size_t>> pieces;
      for (size_t at = 0; at < bytes;) {
        size_t piece = pieces.size() == 7 ? bytes - at : std::min(bytes - at, random() % bytes + 1);
        pieces.emplace_back(base + at, piece);
        at += piece;
      }
      return pieces;
    };
    bool write = round % 2;
    std::vector<iovec> local;
    for (auto& [base, length] : cut(write ? from.data() : to.data()))
      local.push_back({base, length});
    std::vector<Span> remote;
    for (auto& [base, length] : cut(write ? to.data() : from.data()))
      remote.push_back({reinterpret_cast<uint64_t>(base), length, mapped ? base : nullptr});
    Direction direction = write ? Direction::to_site : Direction::from_site;
    LocalList l{local.data(), uint32_t(local.size())};
    SpanList r{remote.data(), uint32_t(remote.size())};
    if (mapped)
      move_direct(direction, l, r, bytes);
    else
      ASSERT_EQ(move_by_kernel(getpid(), direction, l, r, bytes), Moved::all);
    ASSERT_EQ(memcmp(from.data(), to.data(), bytes), 0);
    ASSERT_EQ(to[bytes], 0xee);
  }
}

}  // namespace

TEST(Path, direct_moves_every_cut) { check_moves(true); }
TEST(Path, the_kernel_moves_every_cut) { check_moves(false); }

TEST(Path, memory_that_is_not_there_is_a_fault_of_the_site) {
  char byte = 1;
  iovec local{&byte, 1};
  Span remote{8, 1, nullptr};
  EXPECT_EQ(move_by_kernel(getpid(), Direction::to_site, {&local, 1}, {&remote, 1}, 1),
            Moved::site_fault);
}

TEST(Path, page_aligned_pieces_of_any_size_arrive_whole) {
  std::vector<uint8_t> memory(3 << 20);
  auto* base =
      reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(memory.data()) + 4095) & ~4095ull);
  uint8_t *from = base, *to = base + (1 << 20) + 4096;
  for (size_t bytes : {2047u, 2048u, 4096u, 5001u, 65536u, 1u << 20}) {
    for (size_t i = 0; i < bytes; ++i) from[i] = uint8_t(i * 7 + bytes);
    iovec local{from, bytes};
    Span remote{0, bytes, to};
    move_direct(Direction::to_site, {&local, 1}, {&remote, 1}, bytes);
    EXPECT_EQ(memcmp(from, to, bytes), 0);
  }
}
