// Fills the tables of operations that <infiniband/verbs.h> calls through.
#include "softhca/operations.h"

#include <cerrno>
#include <ctime>

#include "softhca/cq.h"
#include "softhca/device.h"
#include "softhca/dm.h"
#include "softhca/mr.h"
#include "softhca/mw.h"
#include "softhca/pd.h"
#include "softhca/qp.h"
#include "softhca/requester.h"
#include "softhca/srq.h"

namespace softhca {
namespace {

int op_query_device(ibv_context*, ibv_device_attr* attr) { return query_device(attr); }

int op_query_device_ex(ibv_context*, const ibv_query_device_ex_input* input,
                       ibv_device_attr_ex* attr, size_t size) {
  return query_device_ex(input, attr, size);
}

int op_query_port(ibv_context*, uint8_t port, ibv_port_attr* attr, size_t size) {
  return query_port(port, attr, size);
}

// Programs from before the extended table have the structure's first 48 bytes only.
int op_query_port_old(ibv_context*, uint8_t port, _compat_ibv_port_attr* attr) {
  return query_port(port, reinterpret_cast<ibv_port_attr*>(attr), 48);
}

int op_query_rt_values(ibv_context*, ibv_values_ex* values) {
  if (values->comp_mask & ~uint32_t(IBV_VALUES_MASK_RAW_CLOCK)) return EINVAL;
  if (values->comp_mask & IBV_VALUES_MASK_RAW_CLOCK)
    clock_gettime(CLOCK_MONOTONIC, &values->raw_clock);
  return 0;
}

}  // namespace

void fill_operations(verbs_context* verbs) {
  verbs->sz = sizeof *verbs;
  ibv_context_ops& ops = verbs->context.ops;
  ops._compat_query_device = op_query_device;
  ops._compat_query_port = op_query_port_old;
  ops.alloc_mw = alloc_window;
  ops.bind_mw = bind_window_1;
  ops.dealloc_mw = dealloc_window;
  ops.poll_cq = poll_cq;
  ops.req_notify_cq = req_notify_cq;
  ops.post_srq_recv = post_srq_recv;
  ops.post_send = post_send;
  ops.post_recv = post_recv;
  verbs->query_port = op_query_port;
  verbs->query_device_ex = op_query_device_ex;
  verbs->query_rt_values = op_query_rt_values;
  verbs->advise_mr = advise_memory;
  verbs->alloc_dm = alloc_dm;
  verbs->free_dm = free_dm;
  verbs->reg_dm_mr = register_dm;
  verbs->alloc_parent_domain = alloc_parent_domain;
  verbs->alloc_td = alloc_td;
  verbs->dealloc_td = dealloc_td;
  verbs->create_cq_ex = create_cq_ex;
  verbs->create_qp_ex = create_qp_ex;
  verbs->create_srq_ex = create_srq_ex;
  verbs->get_srq_num = get_srq_num;
  verbs->open_xrcd = open_xrcd;
  verbs->close_xrcd = close_xrcd;
}

}  // namespace softhca
