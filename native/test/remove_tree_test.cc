// Removing a directory tree: all of it, and nothing that it only points to.
#include "guard/remove_tree.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace viaduct::guard {
namespace {

namespace fs = std::filesystem;

class RemoveTree : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "viaduct-test-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }

  fs::path root_;
};

TEST_F(RemoveTree, RemovesFilesAndDirectories) {
  fs::create_directories(root_ / "tree/a/b/c");
  std::ofstream(root_ / "tree/a/file") << "x";
  EXPECT_TRUE(remove_tree(root_ / "tree"));
  EXPECT_FALSE(fs::exists(root_ / "tree"));
}

TEST_F(RemoveTree, DoesNotFollowSymbolicLinks) {
  fs::create_directories(root_ / "tree");
  fs::create_directories(root_ / "other");
  std::ofstream(root_ / "other/file") << "x";
  fs::create_directory_symlink(root_ / "other", root_ / "tree/link");
  EXPECT_TRUE(remove_tree(root_ / "tree"));
  EXPECT_TRUE(fs::exists(root_ / "other/file"));
}

TEST_F(RemoveTree, RefusesATreeThatIsItselfALink) {
  fs::create_directories(root_ / "other");
  fs::create_directory_symlink(root_ / "other", root_ / "link");
  EXPECT_FALSE(remove_tree(root_ / "link"));
  EXPECT_TRUE(fs::exists(root_ / "other"));
}

TEST_F(RemoveTree, IsContentWithATreeThatIsNotThere) {
  EXPECT_TRUE(remove_tree(root_ / "nothing"));
}

}  // namespace
}  // namespace viaduct::guard
