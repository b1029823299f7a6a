// What the kernel says is mapped where in this process.
#include "softhca/address_space.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>

namespace softhca {
namespace {

// Linux 6.11 and newer answer for one address without writing all of the table as text.
struct AreaQuery {
  uint64_t size, query_flags, query_addr;
  uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
  uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
  uint64_t vma_name_addr, build_id_addr;
};
static_assert(sizeof(AreaQuery) == 104);
#define SOFTHCA_PROCMAP_QUERY _IOWR('f', 17, AreaQuery)

// False if the kernel can't be asked this way.
bool query(int fd, uintptr_t begin, uintptr_t end, std::vector<Area>* areas) {
  for (uintptr_t at = begin; at < end;) {
    AreaQuery ask{};
    ask.size = sizeof ask;
    ask.query_addr = at;
    if (ioctl(fd, SOFTHCA_PROCMAP_QUERY, &ask) != 0) {
      areas->clear();
      return at != begin;
    }
    areas->push_back({uintptr_t(ask.vma_start), uintptr_t(ask.vma_end), (ask.vma_flags & 1) != 0,
                      (ask.vma_flags & 2) != 0, (ask.vma_flags & 8) != 0, ask.vma_offset,
                      makedev(ask.dev_major, ask.dev_minor), ask.inode});
    at = uintptr_t(ask.vma_end);
  }
  return true;
}

}  // namespace

std::vector<Area> all_areas() {
  std::vector<Area> areas;
  FILE* table = fopen("/proc/self/maps", "re");
  if (!table) return areas;
  char line[1024];
  while (fgets(line, sizeof line, table)) {
    unsigned long begin, end, offset, inode;
    unsigned major_number, minor_number;
    char permissions[5];
    if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu", &begin, &end, permissions, &offset, &major_number,
               &minor_number, &inode) != 7)
      continue;
    areas.push_back({begin, end, permissions[0] == 'r', permissions[1] == 'w',
                     permissions[3] == 's', offset, makedev(major_number, minor_number), inode});
  }
  fclose(table);
  return areas;
}

std::vector<Area> areas_of(uintptr_t begin, uintptr_t end) {
  std::vector<Area> areas;
  int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return areas;
  bool answered = query(fd, begin, end, &areas);
  close(fd);
  if (answered) return areas;
  uintptr_t at = begin;
  for (const Area& area : all_areas()) {
    if (area.end <= at) continue;
    if (area.begin > at || at >= end) break;
    areas.push_back(area);
    at = area.end;
  }
  if (at < end) areas.clear();
  return areas;
}

}  // namespace softhca
