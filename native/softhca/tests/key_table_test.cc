// Keys: what they allow, and what any other number does.
#include "softhca/key_table.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

using namespace softhca;

TEST(KeyTable, a_key_allows_exactly_its_bytes_its_domain_and_its_access) {
  Host& host = *Host::get();
  uint32_t key = reserve_key(host);
  ASSERT_NE(key, 0u);
  KeyInit init{};
  init.kind = key_region;
  init.pd = 7;
  init.access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ;
  init.iova = 1000;
  init.length = 100;
  init.base = 0x10000;
  publish_key(host, key, init);
  Site& site = host.site();
  Span span;
  EXPECT_TRUE(resolve_remote(site, key, 7, 0, 1000, 100, IBV_ACCESS_REMOTE_READ, &span));
  EXPECT_EQ(span.address, 0x10000u);
  EXPECT_TRUE(resolve_remote(site, key, 7, 0, 1099, 1, IBV_ACCESS_REMOTE_READ, &span));
  EXPECT_EQ(span.address, 0x10000u + 99);
  EXPECT_FALSE(resolve_remote(site, key, 7, 0, 999, 1, IBV_ACCESS_REMOTE_READ, &span));
  EXPECT_FALSE(resolve_remote(site, key, 7, 0, 1000, 101, IBV_ACCESS_REMOTE_READ, &span));
  EXPECT_FALSE(resolve_remote(site, key, 7, 0, 1001, 100, IBV_ACCESS_REMOTE_READ, &span));
  EXPECT_FALSE(resolve_remote(site, key, 7, 0, 1050, UINT64_MAX, IBV_ACCESS_REMOTE_READ, &span));
  EXPECT_FALSE(resolve_remote(site, key, 7, 0, UINT64_MAX, 2, IBV_ACCESS_REMOTE_READ, &span));
  EXPECT_FALSE(resolve_remote(site, key, 8, 0, 1000, 1, IBV_ACCESS_REMOTE_READ, &span));
  EXPECT_FALSE(resolve_remote(site, key, 7, 0, 1000, 1, IBV_ACCESS_REMOTE_WRITE, &span));
  EXPECT_FALSE(resolve_remote(site, key ^ 1, 7, 0, 1000, 1, IBV_ACCESS_REMOTE_READ, &span));
  withdraw_key(host, key_slot(key));
  EXPECT_FALSE(resolve_remote(site, key, 7, 0, 1000, 1, IBV_ACCESS_REMOTE_READ, &span));
  release_key(host, key);
}

TEST(KeyTable, garbage_numbers_are_no_keys) {
  Host& host = *Host::get();
  std::mt19937 random(1);
  for (int i = 0; i < 100000; ++i) EXPECT_EQ(find_key(host.site(), uint32_t(random())), nullptr);
  EXPECT_EQ(find_key(host.site(), 0), nullptr);
}

TEST(KeyTable, keys_are_distinct_and_run_out_with_an_error) {
  Host& host = *Host::get();
  std::set<uint32_t> keys;
  for (uint32_t i = 0; i < max_mr; ++i) {
    uint32_t key = reserve_key(host);
    ASSERT_NE(key, 0u);
    ASSERT_TRUE(keys.insert(key).second);
  }
  EXPECT_EQ(reserve_key(host), 0u);
  EXPECT_EQ(errno, ENOMEM);
  for (uint32_t key : keys) release_key(host, key);
}
