// Finds out whether memory lies in a file that peers can map too, which puts it on the direct path.
#include "softhca/shared_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <vector>

#include "softhca/address_space.h"

namespace softhca {
namespace {

struct KnownFile {
  uint64_t device, inode;
  uint32_t id;
  int fd;
  uint32_t users;  // regions that lie in it
};

// A descriptor is kept as long as a peer may come for it: a bound on what a program that maps many
// files can cost. Memory in further files takes the copy path.
constexpr size_t max_files = 64;

std::mutex mutex;
std::vector<KnownFile>& files() {
  static auto* list = new std::vector<KnownFile>;
  return *list;
}

// A descriptor of our own for a file that this process has open for writing and that can't shrink
// under a peer, or -1 with the reason.
int open_again(uint64_t device, uint64_t inode, viaduct_path_reason* refusal) {
  DIR* directory = opendir("/proc/self/fd");
  *refusal = VIADUCT_REASON_FILE_NOT_OPEN;
  if (!directory) return -1;
  int found = -1;
  while (dirent* entry = readdir(directory)) {
    int fd = atoi(entry->d_name);
    struct stat st;
    if (entry->d_name[0] == '.' || fd == dirfd(directory) || fstat(fd, &st) != 0) continue;
    if (st.st_dev != device || st.st_ino != inode || !S_ISREG(st.st_mode)) continue;
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR) continue;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
      *refusal = VIADUCT_REASON_FILE_MAY_SHRINK;
      continue;
    }
    found = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    break;
  }
  closedir(directory);
  return found;
}

// Forgets the files that no region lies in and that are mapped no more. Not as soon as the last
// region is gone: the next is likely to be in the same file, which peers then have mapped already.
void sweep() {
  std::vector<Area> areas = all_areas();
  if (areas.empty()) return;
  std::erase_if(files(), [&](const KnownFile& file) {
    if (file.users != 0) return false;
    for (const Area& area : areas)
      if (area.device == file.device && area.inode == file.inode) return false;
    close(file.fd);
    return true;
  });
}

}  // namespace

SharedFile find_shared_file(const void* address, size_t length) {
  auto begin = reinterpret_cast<uintptr_t>(address);
  std::vector<Area> areas = areas_of(begin, begin + length);
  auto refused = [](viaduct_path_reason reason) { return SharedFile{0, 0, 0, reason}; };
  if (areas.empty()) return refused(VIADUCT_REASON_PRIVATE);
  const Area& first = areas.front();
  for (const Area& area : areas) {
    if (!area.shared || area.inode == 0) return refused(VIADUCT_REASON_PRIVATE);
    if (area.device != first.device || area.inode != first.inode ||
        area.offset - first.offset != area.begin - first.begin)
      return refused(VIADUCT_REASON_SEVERAL_FILES);
  }
  uint64_t offset = first.offset + (begin - first.begin);
  std::lock_guard guard(mutex);
  for (KnownFile& file : files())
    if (file.device == first.device && file.inode == first.inode) {
      ++file.users;
      return {file.id, uint32_t(file.fd), offset};
    }
  sweep();
  if (files().size() >= max_files) return refused(VIADUCT_REASON_TOO_MANY_FILES);
  viaduct_path_reason refusal{};
  int fd = open_again(first.device, first.inode, &refusal);
  if (fd < 0) return refused(refusal);
  static uint32_t last_id = 0;
  files().push_back({first.device, first.inode, ++last_id, fd, 1});
  return {last_id, uint32_t(fd), offset};
}

void release_shared_file(uint32_t id) {
  std::lock_guard guard(mutex);
  for (KnownFile& file : files())
    if (file.id == id) --file.users;
}

}  // namespace softhca
