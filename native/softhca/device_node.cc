// The device's node under /dev/infiniband, which only root can make. UCX opens no device whose node
// it can't stat(2) and access(2), so these, preloaded into a program, answer for that one path as
// they do for the node of a kernel's driver. There is nothing to open; to open devices is the
// library's part.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "softhca/device.h"

namespace {

bool is_device_node(const char* path) {
  static constexpr char folder[] = "/dev/infiniband/";
  static constexpr size_t length = sizeof folder - 1;
  return path && strncmp(path, folder, length) == 0 &&
         strcmp(path + length, softhca::node_name) == 0;
}

int stat_node_or_file(const char* path, struct stat* status) {
  if (!is_device_node(path)) return fstatat(AT_FDCWD, path, status, 0);
  *status = {};
  status->st_mode = S_IFCHR | 0666;
  status->st_nlink = 1;
  status->st_rdev = makedev(231, 192);  // those of Linux's first uverbs device
  return 0;
}

}  // namespace

static_assert(sizeof(struct stat) == sizeof(struct stat64), "one function serves both");

// Names of our own in C++, for the headers declare that a path is never null, but a null one is
// EFAULT.
extern "C" {
#pragma GCC visibility push(default)

int interposed_stat(const char* path, struct stat* status) __asm__("stat");
int interposed_stat64(const char* path, struct stat* status) __asm__("stat64");
// Of programs built with a C library before 2.33.
int interposed_xstat(int version, const char* path, struct stat* status) __asm__("__xstat");
int interposed_xstat64(int version, const char* path, struct stat* status) __asm__("__xstat64");
int interposed_access(const char* path, int mode) __asm__("access");

int interposed_stat(const char* path, struct stat* status) {
  return stat_node_or_file(path, status);
}

int interposed_stat64(const char* path, struct stat* status) {
  return stat_node_or_file(path, status);
}

int interposed_xstat(int, const char* path, struct stat* status) {
  return stat_node_or_file(path, status);
}

int interposed_xstat64(int, const char* path, struct stat* status) {
  return stat_node_or_file(path, status);
}

int interposed_access(const char* path, int mode) {
  if (!is_device_node(path)) return faccessat(AT_FDCWD, path, mode, 0);
  if ((mode & X_OK) == 0) return 0;
  errno = EACCES;
  return -1;
}

#pragma GCC visibility pop
}
