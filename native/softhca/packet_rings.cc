#include "softhca/packet_rings.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace softhca {
namespace {

std::atomic<links::Aperture*> leaving{nullptr};

}  // namespace

std::span<std::byte> map_rings(const NetworkOptions::Rings& rings, std::string* problem) {
  const auto refuse = [&](const std::string& why) {
    *problem =
        "the rings of packets in " + rings.file + " (VIADUCT_PACKET_RINGS) can't be used: " + why;
    return std::span<std::byte>{};
  };
  const int descriptor = open(rings.file.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) {
    return refuse(errno == ENOENT ? "there is no such file; make it with `truncate -s 16M`"
                                  : std::string(strerror(errno)));
  }
  struct stat status {};
  fstat(descriptor, &status);
  const bool has_size = !S_ISCHR(status.st_mode);
  const uint64_t bytes = rings.bytes ? rings.bytes : uint64_t(status.st_size) - rings.offset;
  if (has_size ? rings.offset > uint64_t(status.st_size) ||
                     bytes > uint64_t(status.st_size) - rings.offset
               : rings.bytes == 0) {
    close(descriptor);
    return refuse(has_size ? "it has " + std::to_string(status.st_size) + " bytes"
                           : "a device doesn't say its size; give it as FILE@OFFSET+BYTES");
  }
  // From its beginning, as /dev/mmapper maps nothing else.
  void* base =
      mmap(nullptr, rings.offset + bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  const int error = errno;
  close(descriptor);
  if (base == MAP_FAILED) return refuse(strerror(error));
  return {static_cast<std::byte*>(base) + rings.offset, bytes};
}

void leave_rings_at_exit(links::Aperture* rings) {
  leaving.store(rings);
  static const int registered = atexit([] {
    if (links::Aperture* last = leaving.load()) last->leave();
  });
  static_cast<void>(registered);
}

}  // namespace softhca
