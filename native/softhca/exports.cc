// The library's door: the exported functions of libibverbs, each a line that leads inside.
#include <infiniband/verbs.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "softhca/ah.h"
#include "softhca/channel.h"
#include "softhca/context.h"
#include "softhca/cq.h"
#include "softhca/device.h"
#include "softhca/explain.h"
#include "softhca/gid_table.h"
#include "softhca/mcast.h"
#include "softhca/mr.h"
#include "softhca/names.h"
#include "softhca/packet_counters.h"
#include "softhca/pd.h"
#include "softhca/problem.h"
#include "softhca/qp.h"
#include "softhca/srq.h"

#undef ibv_query_port
#undef ibv_reg_mr
#undef ibv_reg_mr_iova
#undef ibv_get_device_list

#define EXPORT extern "C" __attribute__((visibility("default")))

using namespace softhca;

namespace {

template <typename T>
T* unsupported() {
  errno = EOPNOTSUPP;
  return nullptr;
}

// The verbs that return -1 and those that return an errno value both set errno.
int with_errno(int error) {
  if (error > 0) errno = error;
  return error;
}

}  // namespace

// Devices and contexts

EXPORT ibv_device** ibv_get_device_list(int* count) { return device_list(count); }
EXPORT void ibv_free_device_list(ibv_device** list) { free(list); }
EXPORT const char* ibv_get_device_name(ibv_device* device) { return device->name; }
EXPORT int ibv_get_device_index(ibv_device*) { return -1; }
EXPORT __be64 ibv_get_device_guid(ibv_device*) { return node_guid(); }

EXPORT ibv_context* ibv_open_device(ibv_device* device) {
  if (!is_our_device(device)) {
    errno = ENODEV;
    return nullptr;
  }
  Context* context = open_context(device);
  return context ? &context->verbs.context : nullptr;
}
EXPORT int ibv_close_device(ibv_context* context) { return close_context(Context::of(context)); }

EXPORT int ibv_get_async_event(ibv_context* context, ibv_async_event* event) {
  return get_async_event(Context::of(context), event);
}
EXPORT void ibv_ack_async_event(ibv_async_event* event) { ack_async_event(*event); }

EXPORT int ibv_query_device(ibv_context*, ibv_device_attr* attr) { return query_device(attr); }

EXPORT int ibv_query_port(ibv_context*, uint8_t port, _compat_ibv_port_attr* attr) {
  // What programs from before the extended table have is this long.
  return with_errno(query_port(port, reinterpret_cast<ibv_port_attr*>(attr), 48));
}

EXPORT int ibv_query_gid(ibv_context*, uint8_t port, int index, ibv_gid* gid) {
  if (port != 1 || index < 0 || uint32_t(index) >= gid_table_length) {
    errno = EINVAL;
    return -1;
  }
  refresh_gids();
  const auto entry = gid_at(uint32_t(index));
  *gid = entry ? entry->gid : ibv_gid{};
  return 0;
}

static ibv_gid_entry describe_gid(uint32_t index, const GidEntry& entry) {
  const ibv_gid_type type = is_ethernet() ? IBV_GID_TYPE_ROCE_V2 : IBV_GID_TYPE_IB;
  return {entry.gid, index, 1, type, entry.interface};
}

EXPORT int _ibv_query_gid_ex(ibv_context*, uint32_t port, uint32_t index, ibv_gid_entry* entry,
                             uint32_t flags, size_t size) {
  if (port != 1 || index >= gid_table_length || flags != 0) return with_errno(EINVAL);
  refresh_gids();
  const auto there = gid_at(index);
  if (!there) return with_errno(ENODATA);
  const ibv_gid_entry full = describe_gid(index, *there);
  memset(entry, 0, size);
  memcpy(entry, &full, std::min(size, sizeof full));
  return 0;
}

EXPORT ssize_t _ibv_query_gid_table(ibv_context*, ibv_gid_entry* entries, size_t max,
                                    uint32_t flags, size_t size) {
  refresh_gids();
  const auto all = all_gids();
  if (flags != 0 || max < all.size()) {
    errno = EINVAL;
    return -EINVAL;
  }
  for (size_t i = 0; i < all.size(); ++i) {
    const ibv_gid_entry full = describe_gid(all[i].first, all[i].second);
    auto* entry = reinterpret_cast<uint8_t*>(entries) + i * size;
    memset(entry, 0, size);
    memcpy(entry, &full, std::min(size, sizeof full));
  }
  return ssize_t(all.size());
}

// Private to libibverbs, but used by programs that ship with it: 0 is InfiniBand or RoCE version 1,
// 1 is RoCE version 2.
EXPORT int ibv_query_gid_type(ibv_context*, uint8_t port, unsigned int index, unsigned int* type) {
  if (port != 1 || !gid_at(index)) {
    errno = EINVAL;
    return -1;
  }
  *type = is_ethernet();
  return 0;
}

EXPORT int ibv_query_pkey(ibv_context*, uint8_t port, int index, __be16* pkey) {
  if (port != 1 || index != 0) {
    errno = EINVAL;
    return -1;
  }
  *pkey = 0xffff;
  return 0;
}
EXPORT int ibv_get_pkey_index(ibv_context*, uint8_t port, __be16 pkey) {
  if (port == 1 && pkey == 0xffff) return 0;
  errno = EINVAL;
  return -1;
}

// Domains and memory

EXPORT ibv_pd* ibv_alloc_pd(ibv_context* context) { return alloc_pd(context); }
EXPORT int ibv_dealloc_pd(ibv_pd* pd) { return with_errno(dealloc_pd(pd)); }

EXPORT ibv_mr* ibv_reg_mr(ibv_pd* pd, void* address, size_t length, int access) {
  return register_memory(pd, address, length, reinterpret_cast<uint64_t>(address),
                         uint32_t(access));
}
EXPORT ibv_mr* ibv_reg_mr_iova(ibv_pd* pd, void* address, size_t length, uint64_t iova,
                               int access) {
  return register_memory(pd, address, length, iova, uint32_t(access));
}
EXPORT ibv_mr* ibv_reg_mr_iova2(ibv_pd* pd, void* address, size_t length, uint64_t iova,
                                unsigned int access) {
  return register_memory(pd, address, length, iova, access);
}
EXPORT ibv_mr* ibv_reg_dmabuf_mr(ibv_pd* pd, uint64_t offset, size_t length, uint64_t iova, int fd,
                                 int access) {
  return register_dmabuf(pd, offset, length, iova, fd, uint32_t(access));
}
EXPORT int ibv_rereg_mr(ibv_mr* mr, int flags, ibv_pd* pd, void* address, size_t length,
                        int access) {
  return reregister_memory(mr, flags, pd, address, length, uint32_t(access));
}
EXPORT int ibv_dereg_mr(ibv_mr* mr) { return with_errno(deregister_memory(mr)); }

// Objects of other processes can't be imported: there is no descriptor that carries them.
EXPORT ibv_context* ibv_import_device(int) { return unsupported<ibv_context>(); }
EXPORT ibv_pd* ibv_import_pd(ibv_context*, uint32_t) { return unsupported<ibv_pd>(); }
EXPORT void ibv_unimport_pd(ibv_pd*) {}
EXPORT ibv_mr* ibv_import_mr(ibv_pd*, uint32_t) { return unsupported<ibv_mr>(); }
EXPORT void ibv_unimport_mr(ibv_mr*) {}
EXPORT ibv_dm* ibv_import_dm(ibv_context*, uint32_t) { return unsupported<ibv_dm>(); }
EXPORT void ibv_unimport_dm(ibv_dm*) {}

// Completion

EXPORT ibv_comp_channel* ibv_create_comp_channel(ibv_context* context) {
  return create_channel(context);
}
EXPORT int ibv_destroy_comp_channel(ibv_comp_channel* channel) {
  return with_errno(destroy_channel(channel));
}
EXPORT ibv_cq* ibv_create_cq(ibv_context* context, int cqe, void* cq_context,
                             ibv_comp_channel* channel, int vector) {
  return create_cq(context, cqe, cq_context, channel, vector);
}
EXPORT int ibv_resize_cq(ibv_cq* cq, int cqe) { return with_errno(resize_cq(cq, cqe)); }
EXPORT int ibv_destroy_cq(ibv_cq* cq) { return with_errno(destroy_cq(cq)); }
EXPORT int ibv_get_cq_event(ibv_comp_channel* channel, ibv_cq** cq, void** cq_context) {
  return get_cq_event(channel, cq, cq_context);
}
EXPORT void ibv_ack_cq_events(ibv_cq* cq, unsigned int count) { ack_cq_events(cq, count); }

// Queues

EXPORT ibv_srq* ibv_create_srq(ibv_pd* pd, ibv_srq_init_attr* attr) { return create_srq(pd, attr); }
EXPORT int ibv_modify_srq(ibv_srq* srq, ibv_srq_attr* attr, int mask) {
  return with_errno(modify_srq(srq, attr, mask));
}
EXPORT int ibv_query_srq(ibv_srq* srq, ibv_srq_attr* attr) {
  return with_errno(query_srq(srq, attr));
}
EXPORT int ibv_destroy_srq(ibv_srq* srq) { return with_errno(destroy_srq(srq)); }

EXPORT ibv_qp* ibv_create_qp(ibv_pd* pd, ibv_qp_init_attr* attr) { return create_qp(pd, attr); }
EXPORT ibv_qp_ex* ibv_qp_to_qp_ex(ibv_qp* verbs) {
  auto* qp = QueuePair::of(verbs);
  return qp->send_ops ? &qp->ex : nullptr;
}
EXPORT int ibv_modify_qp(ibv_qp* qp, ibv_qp_attr* attr, int mask) {
  return with_errno(modify_qp(qp, attr, mask));
}
EXPORT int ibv_query_qp(ibv_qp* qp, ibv_qp_attr* attr, int mask, ibv_qp_init_attr* init) {
  return with_errno(query_qp(qp, attr, mask, init));
}
// The order in which bytes of a message arrive is promised for no operation.
EXPORT int ibv_query_qp_data_in_order(ibv_qp*, ibv_wr_opcode, uint32_t) { return 0; }
EXPORT int ibv_destroy_qp(ibv_qp* qp) { return with_errno(destroy_qp(qp)); }
EXPORT int ibv_query_ece(ibv_qp*, ibv_ece* ece) {
  *ece = {};
  return with_errno(EOPNOTSUPP);
}
EXPORT int ibv_set_ece(ibv_qp*, ibv_ece*) { return with_errno(EOPNOTSUPP); }

// Addresses

EXPORT ibv_ah* ibv_create_ah(ibv_pd* pd, ibv_ah_attr* attr) {
  forget_problem();
  return create_ah(pd, attr);
}
EXPORT int ibv_destroy_ah(ibv_ah* ah) { return with_errno(destroy_ah(ah)); }
EXPORT int ibv_init_ah_from_wc(ibv_context* context, uint8_t port, ibv_wc* wc, ibv_grh* grh,
                               ibv_ah_attr* attr) {
  int error = init_ah_from_wc(context, port, *wc, grh, attr);
  return with_errno(error) ? -1 : 0;
}
EXPORT ibv_ah* ibv_create_ah_from_wc(ibv_pd* pd, ibv_wc* wc, ibv_grh* grh, uint8_t port) {
  ibv_ah_attr attr;
  if (ibv_init_ah_from_wc(pd->context, port, wc, grh, &attr) != 0) return nullptr;
  return create_ah(pd, &attr);
}
EXPORT int ibv_attach_mcast(ibv_qp* qp, const ibv_gid* gid, uint16_t lid) {
  return with_errno(attach_mcast(qp, gid, lid));
}
EXPORT int ibv_detach_mcast(ibv_qp* qp, const ibv_gid* gid, uint16_t lid) {
  return with_errno(detach_mcast(qp, gid, lid));
}
EXPORT int ibv_resolve_eth_l2_from_gid(ibv_context*, ibv_ah_attr*, uint8_t*, uint16_t*) {
  errno = EOPNOTSUPP;  // there is no Ethernet beneath the port, whatever it shows
  return -1;
}

// Fork: memory is copied by the processor and never pinned, so a child takes nothing from the
// parent.

EXPORT int ibv_fork_init() { return 0; }
EXPORT ibv_fork_status ibv_is_fork_initialized() { return IBV_FORK_UNNEEDED; }
EXPORT int ibv_dontfork_range(void*, size_t) { return 0; }
EXPORT int ibv_dofork_range(void*, size_t) { return 0; }

// Names, rates and files

EXPORT const char* ibv_node_type_str(ibv_node_type type) { return node_type_name(type); }
EXPORT const char* ibv_port_state_str(ibv_port_state state) { return port_state_name(state); }
EXPORT const char* ibv_event_type_str(ibv_event_type event) { return event_name(event); }
EXPORT const char* ibv_wc_status_str(ibv_wc_status status) { return status_name(status); }

EXPORT int ibv_rate_to_mult(ibv_rate rate) {
  const RateRow* row = find_rate(rate);
  return row ? row->multiple : -1;
}
EXPORT ibv_rate mult_to_ibv_rate(int multiple) {
  const RateRow* row = find_rate_by_multiple(multiple);
  return row ? row->rate : IBV_RATE_MAX;
}
EXPORT int ibv_rate_to_mbps(ibv_rate rate) {
  const RateRow* row = find_rate(rate);
  return row ? row->mbps : -1;
}
EXPORT ibv_rate mbps_to_ibv_rate(int mbps) {
  const RateRow* row = find_rate_by_mbps(mbps);
  return row ? row->rate : IBV_RATE_MAX;
}

EXPORT const char* ibv_get_sysfs_path() { return "/sys"; }

EXPORT int ibv_read_sysfs_file(const char* directory, const char* file, char* buffer, size_t size) {
  char path[512];
  if (size == 0 || snprintf(path, sizeof path, "%s/%s", directory, file) >= int(sizeof path))
    return -1;
  FILE* stream = fopen(path, "re");
  if (!stream) return -1;
  size_t n = fread(buffer, 1, size, stream);
  bool failed = ferror(stream);
  fclose(stream);
  if (failed) return -1;
  if (n > 0 && buffer[n - 1] == '\n') buffer[--n] = 0;
  if (n < size) buffer[n] = 0;
  return int(n);
}

// Beyond verbs (extensions.h)

EXPORT int viaduct_explain_qp(ibv_qp* qp, viaduct_qp_path* path) {
  return with_errno(explain_qp(qp, path));
}
EXPORT const char* viaduct_problem() { return last_problem(); }
EXPORT const char* viaduct_counter_name(uint32_t index) { return packet_counter_name(index); }
EXPORT uint32_t viaduct_query_counters(ibv_context* context, viaduct_packet_counters* list,
                                       uint32_t room) {
  return query_packet_counters(*Context::of(context)->host, list, room);
}
