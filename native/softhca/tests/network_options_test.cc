// What the environment may ask of packets.
#include "softhca/network_options.h"

#include <gtest/gtest.h>

#include "softhca/gid_table.h"

namespace softhca {
namespace {

TEST(NetworkOptions, read_rates_a_delay_and_a_seed) {
  NetworkOptions options;
  ASSERT_TRUE(
      parse_faults("loss=0.05,duplication=0.1,corruption=0,delay=1,delay-us=20,seed=9", &options));
  EXPECT_TRUE(options.has_faults);
  EXPECT_DOUBLE_EQ(options.faults.loss, 0.05);
  EXPECT_DOUBLE_EQ(options.faults.duplication, 0.1);
  EXPECT_DOUBLE_EQ(options.faults.corruption, 0);
  EXPECT_DOUBLE_EQ(options.faults.delay, 1);
  EXPECT_EQ(options.faults.delay_ns, 20000U);
  EXPECT_EQ(options.seed, 9U);
}

TEST(NetworkOptions, say_what_they_cannot_understand) {
  for (const char* text : {"loss=2", "loss=-1", "loss=nan", "loss", "loss=", "los=0.1", "seed=x",
                           "loss=0.1,,delay=0"}) {
    NetworkOptions options;
    EXPECT_FALSE(parse_faults(text, &options)) << text;
    EXPECT_NE(options.problem.find("VIADUCT_FAULTS is a list such as"), std::string::npos) << text;
  }
}

TEST(NetworkOptions, rings_of_packets_are_a_file_or_a_part_of_it) {
  const auto parsed = [](const char* text) {
    const NetworkOptions::Rings rings = parse_rings(text);
    return rings.file + " " + std::to_string(rings.offset) + " " + std::to_string(rings.bytes);
  };
  EXPECT_EQ(parsed("/dev/shm/rings"), "/dev/shm/rings 0 0");
  EXPECT_EQ(parsed("/dev/mmapper@4096+1048576"), "/dev/mmapper 4096 1048576");
  EXPECT_EQ(parsed("/tmp/a@b@0+64"), "/tmp/a@b 0 64");
  EXPECT_EQ(parsed("/tmp/a@4096"), "/tmp/a@4096 0 0") << "a name like another";
}

TEST(GidTable, gives_the_largest_mtu_that_fits_with_all_headers) {
  EXPECT_EQ(largest_mtu(1500, true), 1024U);
  EXPECT_EQ(largest_mtu(9000, true), 4096U);
  EXPECT_EQ(largest_mtu(65536, false), 4096U);
  EXPECT_EQ(largest_mtu(1280, false), 1024U);
  EXPECT_EQ(largest_mtu(256, true), 0U);
  for (const ibv_mtu code : {IBV_MTU_256, IBV_MTU_512, IBV_MTU_1024, IBV_MTU_2048, IBV_MTU_4096})
    EXPECT_EQ(mtu_code(mtu_of_code(code)), code);
}

}  // namespace
}  // namespace softhca
