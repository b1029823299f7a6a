#include "aperture/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <map>
#include <mutex>

namespace viaduct::aperture {

namespace {

// Sparse: only what is written takes memory. 64 GiB fit into every address space beside others'.
constexpr size_t file_bytes = size_t{1} << 36;

// The file and its free ranges; lives until the process ends, because peers may map it at any time.
class File {
 public:
  static File& of_this_process() {
    static File file;
    return file;
  }

  int descriptor(SystemError& error) {
    const std::lock_guard guard(mutex_);
    if (descriptor_ < 0) open(error);
    return descriptor_;
  }

  // False: no room.
  bool take(size_t size_bytes, size_t& offset) {
    const std::lock_guard guard(mutex_);
    for (auto range = free_.begin(); range != free_.end(); ++range) {
      const auto [begin, length] = *range;
      if (length < size_bytes) continue;
      free_.erase(range);
      if (length > size_bytes) free_[begin + size_bytes] = length - size_bytes;
      offset = begin;
      return true;
    }
    return false;
  }

  void give(size_t offset, size_t size_bytes) {
    const std::lock_guard guard(mutex_);
    ::fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                static_cast<off_t>(size_bytes));
    auto range = free_.emplace(offset, size_bytes).first;
    const auto after = std::next(range);
    if (after != free_.end() && offset + size_bytes == after->first) {
      range->second += after->second;
      free_.erase(after);
    }
    if (range == free_.begin()) return;
    const auto before = std::prev(range);
    if (before->first + before->second != offset) return;
    before->second += range->second;
    free_.erase(range);
  }

 private:
  void open(SystemError& error) {
    const int made = ::memfd_create("viaduct-shared", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (made < 0) {
      error = {"memfd_create", errno};
      return;
    }
    // A memfd is born with mode 0777; another user must not open it through /proc.
    if (::fchmod(made, S_IRUSR | S_IWUSR) != 0) {
      error = {"fchmod", errno};
    } else if (::ftruncate(made, static_cast<off_t>(file_bytes)) != 0) {
      error = {"ftruncate", errno};
    } else if (::fcntl(made, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
      error = {"fcntl(F_ADD_SEALS)", errno};
    } else {
      descriptor_ = made;
      return;
    }
    ::close(made);
  }

  std::mutex mutex_;
  int descriptor_ = -1;
  std::map<size_t, size_t> free_{{0, file_bytes}};  // offset to length, never adjacent
};

}  // namespace

std::unique_ptr<SharedMemory> SharedMemory::allocate(size_t size_bytes, SystemError& error) {
  File& file = File::of_this_process();
  const int descriptor = file.descriptor(error);
  if (descriptor < 0) return nullptr;
  const auto page_bytes = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  size_t offset = 0;
  if (size_bytes > file_bytes) {
    error = {"mmap", ENOMEM};
    return nullptr;
  }
  size_bytes = (size_bytes + page_bytes - 1) / page_bytes * page_bytes;
  if (!file.take(size_bytes, offset)) {
    error = {"mmap", ENOMEM};
    return nullptr;
  }
  void* base = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor,
                      static_cast<off_t>(offset));
  if (base == MAP_FAILED) {
    error = {"mmap", errno};
    file.give(offset, size_bytes);
    return nullptr;
  }
  return std::unique_ptr<SharedMemory>(
      new SharedMemory(static_cast<std::byte*>(base), offset, size_bytes));
}

SharedMemory::~SharedMemory() {
  ::munmap(base_, size_bytes_);
  File::of_this_process().give(offset_, size_bytes_);
}

}  // namespace viaduct::aperture
