// Protection domains, thread domains, parent domains and XRC domains: who may use what with whom.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>

#include "softhca/context.h"

namespace softhca {

struct ProtectionDomain {
  ibv_pd verbs;
  std::atomic<bool> live;
  Host* host;
  uint32_t id;
  std::atomic<uint32_t> users;
  ProtectionDomain* parent;  // of a parent domain: the domain it stands for

  static ProtectionDomain* of(ibv_pd* pd) { return reinterpret_cast<ProtectionDomain*>(pd); }
};

struct ThreadDomain {
  ibv_td verbs;
  std::atomic<bool> live;
  std::atomic<uint32_t> users;
};

struct XrcDomain {
  ibv_xrcd verbs;
  std::atomic<bool> live;
  uint64_t id;  // the same for every process that opens the same file
  std::atomic<uint32_t> users;

  static XrcDomain* of(ibv_xrcd* xrcd) { return reinterpret_cast<XrcDomain*>(xrcd); }
};

ibv_pd* alloc_pd(ibv_context* context);
int dealloc_pd(ibv_pd* pd);
ibv_td* alloc_td(ibv_context* context, ibv_td_init_attr* attr);
int dealloc_td(ibv_td* td);
ibv_pd* alloc_parent_domain(ibv_context* context, ibv_parent_domain_init_attr* attr);
ibv_xrcd* open_xrcd(ibv_context* context, ibv_xrcd_init_attr* attr);
int close_xrcd(ibv_xrcd* xrcd);

}  // namespace softhca
