// What a hub knows about who is where.
#include "link/address_table.h"

#include <gtest/gtest.h>

namespace viaduct::link {
namespace {

TEST(AddressTable, FindsWhereAnAddressWasLastSeen) {
  AddressTable table;
  table.learn({0x020000000001}, 3);
  EXPECT_EQ(table.find({0x020000000001}), 3U);
  table.learn({0x020000000001}, 5);
  EXPECT_EQ(table.find({0x020000000001}), 5U);
  EXPECT_FALSE(table.find({0x020000000002}));
}

TEST(AddressTable, NeverHasGroupAddresses) {
  AddressTable table;
  table.learn({0xffffffffffff}, 1);
  EXPECT_FALSE(table.find({0xffffffffffff}));
}

TEST(AddressTable, StaysBounded) {
  AddressTable table;
  for (uint64_t address = 0; address < AddressTable::max_entries * 3; ++address) {
    table.learn({address << 8}, 1);
  }
  EXPECT_EQ(table.find({(AddressTable::max_entries * 3 - 1) << 8}), 1U);
}

TEST(AddressTable, ReadsAddressesInNetworkOrder) {
  const uint8_t bytes[] = {0x02, 0, 0, 0, 0, 0x07};
  EXPECT_EQ(MacAddress::at(bytes).value, 0x020000000007U);
  EXPECT_FALSE(MacAddress::at(bytes).is_group());
}

}  // namespace
}  // namespace viaduct::link
