#include "aperture/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <utility>

namespace viaduct::aperture {

namespace {

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

std::byte* map_shared(int descriptor, size_t size_bytes) {
  void* base =
      ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, /*offset=*/0);
  return base == MAP_FAILED ? nullptr : static_cast<std::byte*>(base);
}

}  // namespace

std::shared_ptr<Mapping> Mapping::create(size_t size_bytes, SystemError& error) {
  Descriptor file(::memfd_create("viaduct-aperture", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (file.get() < 0) {
    error = {"memfd_create", errno};
    return nullptr;
  }
  // The memory of a PCI device is a power of two in size; what is never touched takes none.
  if (::ftruncate(file.get(), static_cast<off_t>(std::bit_ceil(size_bytes))) != 0) {
    error = {"ftruncate", errno};
    return nullptr;
  }
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    error = {"fcntl(F_ADD_SEALS)", errno};
    return nullptr;
  }
  // A memfd is born with mode 0777; another user must not open it through /proc.
  if (::fchmod(file.get(), S_IRUSR | S_IWUSR) != 0) {
    error = {"fchmod", errno};
    return nullptr;
  }
  std::byte* base = map_shared(file.get(), size_bytes);
  if (base == nullptr) {
    error = {"mmap", errno};
    return nullptr;
  }
  return std::shared_ptr<Mapping>(new Mapping(file.release(), base, size_bytes));
}

std::shared_ptr<Mapping> Mapping::open(const std::string& path,
                                       uint64_t (*size_from_header)(const void* page),
                                       SystemError& error) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (file.get() < 0) {
    error = {"open", errno};
    return nullptr;
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) {
    error = {"fstat", errno};
    return nullptr;
  }
  const auto page_bytes = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  // A character device has no size.
  uint64_t size_bytes =
      S_ISCHR(status.st_mode) ? ~uint64_t{0} : static_cast<uint64_t>(status.st_size);
  if (size_bytes < page_bytes) {
    error = {"fstat", ENODATA};
    return nullptr;
  }
  std::byte* page = map_shared(file.get(), page_bytes);
  if (page == nullptr) {
    error = {"mmap", errno};
    return nullptr;
  }
  const uint64_t declared_bytes = size_from_header(page);
  ::munmap(page, page_bytes);
  // What the header of a foreign file says is for the caller to judge.
  if (S_ISCHR(status.st_mode) || (declared_bytes >= page_bytes && declared_bytes < size_bytes)) {
    size_bytes = declared_bytes;
  }
  if (size_bytes < page_bytes) {
    error = {"fstat", ENODATA};
    return nullptr;
  }
  std::byte* base = map_shared(file.get(), size_bytes);
  if (base == nullptr) {
    error = {"mmap", errno};
    return nullptr;
  }
  return std::shared_ptr<Mapping>(new Mapping(file.release(), base, size_bytes));
}

Mapping::~Mapping() {
  ::munmap(base_, size_bytes_);
  ::close(descriptor_);
}

}  // namespace viaduct::aperture
