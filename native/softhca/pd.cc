// Protection domains, thread domains, parent domains and XRC domains: who may use what with whom.
#include "softhca/pd.h"

#include <sys/stat.h>

#include <cerrno>

#include "softhca/pool.h"

namespace softhca {

ibv_pd* alloc_pd(ibv_context* context) {
  Context* owner = Context::of(context);
  auto* pd = Pool<ProtectionDomain>::instance().take();
  if (!pd) return nullptr;
  pd->host = owner->host;
  pd->id = owner->host->new_id();
  pd->verbs = {context, pd->id};
  owner->objects.fetch_add(1);
  return &pd->verbs;
}

int dealloc_pd(ibv_pd* verbs) {
  auto* pd = ProtectionDomain::of(verbs);
  if (!pd->live) return EINVAL;
  if (pd->users != 0) return EBUSY;
  if (pd->parent) pd->parent->users.fetch_sub(1);
  Context::of(verbs->context)->objects.fetch_sub(1);
  Pool<ProtectionDomain>::instance().give(pd);
  return 0;
}

ibv_td* alloc_td(ibv_context* context, ibv_td_init_attr* attr) {
  if (attr->comp_mask != 0) {
    errno = EINVAL;
    return nullptr;
  }
  auto* td = Pool<ThreadDomain>::instance().take();
  if (!td) return nullptr;
  td->verbs.context = context;
  Context::of(context)->objects.fetch_add(1);
  return &td->verbs;
}

int dealloc_td(ibv_td* verbs) {
  auto* td = reinterpret_cast<ThreadDomain*>(verbs);
  if (!td->live) return EINVAL;
  if (td->users != 0) return EBUSY;
  Context::of(verbs->context)->objects.fetch_sub(1);
  Pool<ThreadDomain>::instance().give(td);
  return 0;
}

ibv_pd* alloc_parent_domain(ibv_context* context, ibv_parent_domain_init_attr* attr) {
  constexpr uint32_t known =
      IBV_PARENT_DOMAIN_INIT_ATTR_ALLOCATORS | IBV_PARENT_DOMAIN_INIT_ATTR_PD_CONTEXT;
  if (!attr->pd || (attr->comp_mask & ~known)) {
    errno = EINVAL;
    return nullptr;
  }
  auto* parent = ProtectionDomain::of(attr->pd);
  if (!parent->live) {
    errno = EINVAL;
    return nullptr;
  }
  ibv_pd* verbs = alloc_pd(context);
  if (!verbs) return nullptr;
  auto* pd = ProtectionDomain::of(verbs);
  pd->parent = parent->parent ? parent->parent : parent;
  pd->id = pd->parent->id;
  pd->parent->users.fetch_add(1);
  return verbs;
}

ibv_xrcd* open_xrcd(ibv_context* context, ibv_xrcd_init_attr* attr) {
  constexpr uint32_t needed = IBV_XRCD_INIT_ATTR_FD | IBV_XRCD_INIT_ATTR_OFLAGS;
  if ((attr->comp_mask & needed) != needed || attr->comp_mask >= IBV_XRCD_INIT_ATTR_RESERVED) {
    errno = EINVAL;
    return nullptr;
  }
  Context* owner = Context::of(context);
  uint64_t id;
  if (attr->fd == -1) {
    id = 1ull << 63 | uint64_t(owner->host->slot()) << 32 | owner->host->new_id();
  } else {
    struct stat st;
    if (fstat(attr->fd, &st) != 0) return nullptr;
    id = (uint64_t(st.st_dev) * 0x9e3779b97f4a7c15ull ^ uint64_t(st.st_ino)) & ~(1ull << 63);
    if (id == 0) id = 1;
  }
  auto* xrcd = Pool<XrcDomain>::instance().take();
  if (!xrcd) return nullptr;
  xrcd->verbs.context = context;
  xrcd->id = id;
  owner->objects.fetch_add(1);
  return &xrcd->verbs;
}

int close_xrcd(ibv_xrcd* verbs) {
  auto* xrcd = XrcDomain::of(verbs);
  if (!xrcd->live) return EINVAL;
  if (xrcd->users != 0) return EBUSY;
  Context::of(verbs->context)->objects.fetch_sub(1);
  Pool<XrcDomain>::instance().give(xrcd);
  return 0;
}

}  // namespace softhca
