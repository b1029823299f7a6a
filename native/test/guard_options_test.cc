// The guard's command line.
#include <gtest/gtest.h>

#include "guard/options.h"

namespace viaduct::guard {
namespace {

std::optional<Options> parse(std::vector<std::string> words, std::string& error) {
  words.insert(words.begin(), "viaduct-guard");
  // argv is writable by the C standard; the options keep pointers into it.
  static std::vector<std::string> kept;
  kept = std::move(words);
  std::vector<char*> arguments;
  for (std::string& word : kept) arguments.push_back(word.data());
  return parse_options(static_cast<int>(arguments.size()), arguments.data(), error);
}

TEST(GuardOptions, PlainProgramNeedsNoSupervisor) {
  std::string error;
  const auto options = parse({"--cpu", "1", "--parent", "7", "--", "true", "--cpu"}, error);
  ASSERT_TRUE(options) << error;
  EXPECT_FALSE(options->supervised());
  EXPECT_EQ(options->cpu, 1);
  EXPECT_EQ(options->parent, 7);
  ASSERT_EQ(options->command.size(), 3U);
  EXPECT_STREQ(options->command[1], "--cpu");
  EXPECT_EQ(options->command[2], nullptr);
}

TEST(GuardOptions, WhatIsCleanedUpNeedsASupervisor) {
  std::string error;
  for (const char* option : {"--remove", "--scratch", "--tmpfs", "--claim"}) {
    const auto options = parse({option, "/x", "--", "true"}, error);
    ASSERT_TRUE(options) << error;
    EXPECT_TRUE(options->supervised()) << option;
  }
}

class WrongOptions : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(WrongOptions, AreRefusedWithASentence) {
  std::string error;
  EXPECT_FALSE(parse(GetParam(), error));
  EXPECT_NE(error, "");
}

INSTANTIATE_TEST_SUITE_P(GuardOptions, WrongOptions,
                         testing::Values(std::vector<std::string>{}, std::vector<std::string>{"--"},
                                         std::vector<std::string>{"true"},
                                         std::vector<std::string>{"--cpu", "--", "true"},
                                         std::vector<std::string>{"--cpu", "-1", "--", "true"},
                                         std::vector<std::string>{"--cpu", "1x", "--", "true"},
                                         std::vector<std::string>{"--cpu"},
                                         std::vector<std::string>{"--remove", "x", "--", "true"},
                                         std::vector<std::string>{"--speed", "--", "true"}));

}  // namespace
}  // namespace viaduct::guard
