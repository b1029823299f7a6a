// The functions of libibverbs that a provider exports and the addon calls, each name once.
#pragma once

#if !__has_include(<infiniband/verbs.h>)
#error \
    "the headers of libibverbs are missing: install libibverbs-dev (Debian) or rdma-core-devel (Fedora)"
#endif
#include <infiniband/verbs.h>

// The header covers these names with macros for old binaries; the functions beneath are meant here.
#undef ibv_get_device_list
#undef ibv_query_port
#undef ibv_reg_mr
#undef ibv_reg_mr_iova

// Without these a library is no provider.
#define VIADUCT_VERBS_REQUIRED(X) \
  X(ibv_get_device_list)          \
  X(ibv_free_device_list)         \
  X(ibv_get_device_name)          \
  X(ibv_get_device_guid)          \
  X(ibv_open_device)              \
  X(ibv_close_device)

// Without one of these, that verb is unsupported.
#define VIADUCT_VERBS_OPTIONAL(X) \
  X(ibv_query_device)             \
  X(ibv_query_port)               \
  X(ibv_query_gid)                \
  X(_ibv_query_gid_table)         \
  X(ibv_query_pkey)               \
  X(ibv_get_async_event)          \
  X(ibv_ack_async_event)          \
  X(ibv_alloc_pd)                 \
  X(ibv_dealloc_pd)               \
  X(ibv_reg_mr)                   \
  X(ibv_reg_mr_iova2)             \
  X(ibv_reg_dmabuf_mr)            \
  X(ibv_rereg_mr)                 \
  X(ibv_dereg_mr)                 \
  X(ibv_create_comp_channel)      \
  X(ibv_destroy_comp_channel)     \
  X(ibv_create_cq)                \
  X(ibv_resize_cq)                \
  X(ibv_destroy_cq)               \
  X(ibv_get_cq_event)             \
  X(ibv_ack_cq_events)            \
  X(ibv_create_srq)               \
  X(ibv_modify_srq)               \
  X(ibv_query_srq)                \
  X(ibv_destroy_srq)              \
  X(ibv_create_qp)                \
  X(ibv_qp_to_qp_ex)              \
  X(ibv_modify_qp)                \
  X(ibv_query_qp)                 \
  X(ibv_destroy_qp)               \
  X(ibv_query_ece)                \
  X(ibv_set_ece)                  \
  X(ibv_create_ah)                \
  X(ibv_create_ah_from_wc)        \
  X(ibv_destroy_ah)               \
  X(ibv_attach_mcast)             \
  X(ibv_detach_mcast)
