#include "verbs/register_memory.h"

#include <cerrno>

namespace viaduct::verbs {

ibv_mr* register_memory(const Domain& domain, void* address, size_t length, const uint64_t* iova,
                        uint32_t access) {
  const Provider& provider = *domain.provider;
  const uint64_t own = reinterpret_cast<uintptr_t>(address);
  const bool needs_newer = iova != nullptr || (access & IBV_ACCESS_OPTIONAL_RANGE) != 0;
  if (needs_newer && provider.ibv_reg_mr_iova2 != nullptr) {
    return provider.ibv_reg_mr_iova2(domain.verbs, address, length, iova != nullptr ? *iova : own,
                                     access);
  }
  if (iova != nullptr || provider.ibv_reg_mr == nullptr) {
    errno = EOPNOTSUPP;
    return nullptr;
  }
  // Optional flags are hints that a provider may drop (ibv_reg_mr(3)).
  access &= ~static_cast<uint32_t>(IBV_ACCESS_OPTIONAL_RANGE);
  return provider.ibv_reg_mr(domain.verbs, address, length, static_cast<int>(access));
}

}  // namespace viaduct::verbs
