#include "guard/remove_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

namespace viaduct::guard {
namespace {

bool empty_directory(int descriptor) {
  DIR* directory = fdopendir(descriptor);
  if (directory == nullptr) {
    close(descriptor);
    return false;
  }
  bool complete = true;
  while (const dirent* entry = readdir(directory)) {
    const char* name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    if (unlinkat(dirfd(directory), name, 0) == 0) continue;
    const int child = openat(dirfd(directory), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (child < 0) {
      complete = complete && errno == ENOENT;
      continue;
    }
    complete = empty_directory(child) && complete;
    complete = unlinkat(dirfd(directory), name, AT_REMOVEDIR) == 0 && complete;
  }
  closedir(directory);
  return complete;
}

}  // namespace

bool remove_tree(const std::string& path) {
  const int directory = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (directory < 0) return errno == ENOENT;
  const bool emptied = empty_directory(directory);
  return (rmdir(path.c_str()) == 0 || errno == ENOENT) && emptied;
}

}  // namespace viaduct::guard
