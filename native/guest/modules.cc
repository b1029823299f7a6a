#include "guest/modules.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "guest/descriptor.h"

namespace viaduct::guest {

void load_modules(const char* directory) {
  DIR* files = opendir(directory);
  if (files == nullptr) return;
  std::vector<std::string> names;
  while (const dirent* entry = readdir(files)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const Descriptor file(openat(dirfd(files), name.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.is_open() && syscall(SYS_finit_module, file.number(), "", 0) == 0) {
      // Its memory is the kernel's own now; an initramfs would keep the file's, too.
      unlinkat(dirfd(files), name.c_str(), 0);
      continue;
    }
    fprintf(stderr, "viaduct-agent: module %s: %s\n", name.c_str(), strerror(errno));
  }
  closedir(files);
}

}  // namespace viaduct::guest
