// A mapped aperture: the control path of the window through which the VMM is bypassed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace viaduct::aperture {

// What went wrong, as the operating system says it: the call and its errno.
struct SystemError {
  const char* call = nullptr;
  int error = 0;
  explicit operator bool() const { return error != 0; }
};

class Mapping {
 public:
  // An anonymous file in memory, sealed against truncation: a file that shrinks under a mapping
  // would kill its participants by SIGBUS. It has no name, so nothing is left of it when the last
  // participant is gone, however each of them ended.
  static std::shared_ptr<Mapping> create(size_t size_bytes, SystemError& error);

  // Any door: another process's descriptor under /proc, a file, /dev/mmapper in a User-Mode Linux
  // guest, or a PCI device's memory in a QEMU guest. The size is what its header says, which
  // size_from_header reads from a mapping of the first page, but no more than the file has.
  static std::shared_ptr<Mapping> open(const std::string& path,
                                       uint64_t (*size_from_header)(const void* page),
                                       SystemError& error);

  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::byte* data() const { return base_; }
  size_t size_bytes() const { return size_bytes_; }
  int descriptor() const { return descriptor_; }

 private:
  Mapping(int descriptor, std::byte* base, size_t size_bytes)
      : descriptor_(descriptor), base_(base), size_bytes_(size_bytes) {}

  int descriptor_;
  std::byte* base_;
  size_t size_bytes_;
};

}  // namespace viaduct::aperture
