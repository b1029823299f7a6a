#include "guest/file_stream.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "guest/descriptor.h"
#include "guest/little_endian.h"
#include "guest/write_all.h"

namespace viaduct::guest {
namespace {

constexpr size_t chunk_bytes = 65536;
constexpr uint32_t failed_chunk = 0xffffffff;
constexpr mode_t permissions = 07777;

bool complain(const std::string& path, const char* what) {
  fprintf(stderr, "%s: %s\n", path.c_str(), what);
  return false;
}

bool complain(const std::string& path) { return complain(path, strerror(errno)); }

bool read_all(int descriptor, void* data, size_t length) {
  auto* bytes = static_cast<uint8_t*>(data);
  while (length > 0) {
    const ssize_t count = read(descriptor, bytes, length);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes += count;
    length -= static_cast<size_t>(count);
  }
  return true;
}

std::string join(const std::string& directory, const std::string& name) {
  return name.empty() ? directory : directory + "/" + name;
}

class Packer {
 public:
  explicit Packer(std::string top) : top_(std::move(top)) {}

  bool run() { return entry("") && write_all(1, "e", 1); }

 private:
  bool number(uint32_t value) {
    uint8_t bytes[4];
    store_u32(bytes, value);
    return write_all(1, bytes, sizeof bytes);
  }

  bool text(const std::string& value) {
    return number(static_cast<uint32_t>(value.size())) && write_all(1, value.data(), value.size());
  }

  bool head(char kind, const struct stat& status, const std::string& path) {
    return write_all(1, &kind, 1) && number(status.st_mode & permissions) && text(path);
  }

  bool entry(const std::string& path) {
    const std::string full = join(top_, path);
    struct stat status = {};
    if (lstat(full.c_str(), &status) != 0) return complain(full);
    if (S_ISREG(status.st_mode)) return file(full, status, path);
    if (S_ISDIR(status.st_mode)) return directory(full, status, path);
    if (S_ISLNK(status.st_mode)) return link(full, status, path);
    return complain(full, "is neither a file nor a folder nor a symbolic link");
  }

  bool file(const std::string& full, const struct stat& status, const std::string& path) {
    const Descriptor source(open(full.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!source.is_open()) return complain(full);
    if (!head('f', status, path)) return false;
    std::vector<uint8_t> chunk(chunk_bytes);
    for (;;) {
      const ssize_t count = read(source.number(), chunk.data(), chunk.size());
      if (count < 0) {
        complain(full);
        number(failed_chunk);
        return false;
      }
      if (!number(static_cast<uint32_t>(count))) return false;
      if (count == 0) return true;
      if (!write_all(1, chunk.data(), static_cast<size_t>(count))) return false;
    }
  }

  bool directory(const std::string& full, const struct stat& status, const std::string& path) {
    DIR* files = opendir(full.c_str());
    if (files == nullptr) return complain(full);
    std::vector<std::string> names;
    while (const dirent* found = readdir(files)) {
      const std::string name = found->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    closedir(files);
    std::sort(names.begin(), names.end());
    if (!head('d', status, path)) return false;
    return std::all_of(names.begin(), names.end(), [&](const std::string& name) {
      return entry(path.empty() ? name : path + "/" + name);
    });
  }

  bool link(const std::string& full, const struct stat& status, const std::string& path) {
    char target[PATH_MAX];
    const ssize_t length = readlink(full.c_str(), target, sizeof target);
    if (length < 0) return complain(full);
    return head('l', status, path) && text(std::string(target, static_cast<size_t>(length)));
  }

  const std::string top_;
};

class Unpacker {
 public:
  explicit Unpacker(std::string top) : top_(std::move(top)) {}

  bool run() {
    char kind = 0;
    while (read_all(0, &kind, 1) && kind != 'e') {
      if (!entry(kind)) return false;
    }
    if (kind != 'e') return complain(top_, "the copy broke off");
    // Last, and the innermost first: a folder may forbid writing.
    std::reverse(directories_.begin(), directories_.end());
    for (const auto& [path, mode] : directories_) {
      if (chmod(path.c_str(), mode) != 0) return complain(path);
    }
    return true;
  }

 private:
  bool number(uint32_t& value) {
    uint8_t bytes[4];
    if (!read_all(0, bytes, sizeof bytes)) return false;
    value = load_u32(bytes);
    return true;
  }

  bool text(std::string& value) {
    uint32_t length = 0;
    if (!number(length) || length > PATH_MAX) return false;
    value.resize(length);
    return read_all(0, value.data(), length);
  }

  bool entry(char kind) {
    uint32_t mode = 0;
    std::string path;
    if (!number(mode) || !text(path)) return complain(top_, "the copy broke off");
    mode &= permissions;
    const std::string full = join(top_, path);
    switch (kind) {
      case 'f':
        return file(full, mode);
      case 'd':
        directories_.emplace_back(full, mode);
        if (mkdir(full.c_str(), S_IRWXU) == 0) return true;
        return errno == EEXIST && is_directory(full) ? true : complain(full);
      case 'l':
        return link(full);
      default:
        return complain(full, "the copy broke off");
    }
  }

  static bool is_directory(const std::string& path) {
    struct stat status = {};
    if (stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return true;
    errno = EEXIST;
    return false;
  }

  bool file(const std::string& full, mode_t mode) {
    const Descriptor target(
        open(full.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (!target.is_open()) return complain(full);
    std::vector<uint8_t> chunk(chunk_bytes);
    for (;;) {
      uint32_t left = 0;
      if (!number(left) || left == failed_chunk) return complain(full, "the copy broke off");
      if (left == 0) break;
      while (left > 0) {
        const size_t length = std::min<size_t>(left, chunk.size());
        if (!read_all(0, chunk.data(), length)) return complain(full, "the copy broke off");
        if (!write_all(target.number(), chunk.data(), length)) return complain(full);
        left -= static_cast<uint32_t>(length);
      }
    }
    return fchmod(target.number(), mode) == 0 ? true : complain(full);
  }

  bool link(const std::string& full) {
    std::string target;
    if (!text(target)) return complain(full, "the copy broke off");
    unlink(full.c_str());
    return symlink(target.c_str(), full.c_str()) == 0 ? true : complain(full);
  }

  const std::string top_;
  std::vector<std::pair<std::string, mode_t>> directories_;
};

bool enter(const char* root) {
  if (chroot(root) == 0 && chdir("/") == 0) return true;
  return complain(root);
}

}  // namespace

int pack(const char* root, const char* path) {
  if (!enter(root)) return 1;
  if (Packer(path).run()) return 0;
  write_all(1, "x", 1);
  return 1;
}

int unpack(const char* root, const char* path) {
  return enter(root) && Unpacker(path).run() ? 0 : 1;
}

}  // namespace viaduct::guest
