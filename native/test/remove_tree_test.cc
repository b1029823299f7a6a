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
    root = pattern;
  }
  void TearDown() override { fs::remove_all(root); }

  fs::path root;
};

TEST_F(RemoveTree, RemovesFilesAndDirectories) {
  fs::create_directories(root / "tree/a/b/c");
  std::ofstream(root / "tree/a/file") << "x";
  EXPECT_TRUE(remove_tree(root / "tree"));
  EXPECT_FALSE(fs::exists(root / "tree"));
}

TEST_F(RemoveTree, DoesNotFollowSymbolicLinks) {
  fs::create_directories(root / "tree");
  fs::create_directories(root / "other");
  std::ofstream(root / "other/file") << "x";
  fs::create_directory_symlink(root / "other", root / "tree/link");
  EXPECT_TRUE(remove_tree(root / "tree"));
  EXPECT_TRUE(fs::exists(root / "other/file"));
}

TEST_F(RemoveTree, RefusesATreeThatIsItselfALink) {
  fs::create_directories(root / "other");
  fs::create_directory_symlink(root / "other", root / "link");
  EXPECT_FALSE(remove_tree(root / "link"));
  EXPECT_TRUE(fs::exists(root / "other"));
}

TEST_F(RemoveTree, IsContentWithATreeThatIsNotThere) { EXPECT_TRUE(remove_tree(root / "nothing")); }

}  // namespace
}  // namespace viaduct::guard
