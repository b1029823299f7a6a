#include "regcache/limits.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace viaduct::regcache {

namespace {

bool may_exceed_memlock() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return (data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK)) != 0;
}

}  // namespace

PinningRules pinning_rules() {
  rlimit memlock = {};
  (void)getrlimit(RLIMIT_MEMLOCK, &memlock);
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return {memlock.rlim_cur, memlock.rlim_cur == RLIM_INFINITY || may_exceed_memlock(),
          static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * page};
}

Limits default_limits(const PinningRules& rules) {
  // Enough for the buffers a program works with, and few enough to look through. Half of the limit
  // is left to what is in use and to registrations outside the cache; without a limit a quarter of
  // the machine's memory, because what is pinned can't be paged out for anybody.
  constexpr size_t entries = 4096;
  const size_t quarter = rules.physical_bytes / 4;
  return {entries, rules.unlimited ? quarter : std::min(rules.memlock_bytes / 2, quarter)};
}

}  // namespace viaduct::regcache
