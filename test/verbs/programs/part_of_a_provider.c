// A provider that has only some of the verbs: those of the software HCA that it names in
// $WHOLE_PROVIDER. With -DDEVICES_ONLY devices can be opened, and that is all.
#include <dlfcn.h>
#include <infiniband/verbs.h>
#include <stdlib.h>

#undef ibv_get_device_list
#undef ibv_query_port
#undef ibv_reg_mr

static void* whole(const char* name) {
  static void* library;
  if (library == NULL) library = dlopen(getenv("WHOLE_PROVIDER"), RTLD_NOW | RTLD_LOCAL);
  return library == NULL ? NULL : dlsym(library, name);
}

#define FORWARD(result, name, parameters, arguments) \
  result name parameters {                           \
    result(*function) parameters = whole(#name);     \
    if (function == NULL) abort();                   \
    return function arguments;                       \
  }

FORWARD(struct ibv_device**, ibv_get_device_list, (int* count), (count))
FORWARD(void, ibv_free_device_list, (struct ibv_device * *list), (list))
FORWARD(const char*, ibv_get_device_name, (struct ibv_device * device), (device))
FORWARD(__be64, ibv_get_device_guid, (struct ibv_device * device), (device))
FORWARD(struct ibv_context*, ibv_open_device, (struct ibv_device * device), (device))
FORWARD(int, ibv_close_device, (struct ibv_context * context), (context))
#ifndef DEVICES_ONLY
FORWARD(struct ibv_pd*, ibv_alloc_pd, (struct ibv_context * context), (context))
FORWARD(int, ibv_dealloc_pd, (struct ibv_pd * pd), (pd))
FORWARD(struct ibv_mr*, ibv_reg_mr, (struct ibv_pd * pd, void* address, size_t length, int access),
        (pd, address, length, access))
FORWARD(int, ibv_dereg_mr, (struct ibv_mr * mr), (mr))
FORWARD(struct ibv_cq*, ibv_create_cq,
        (struct ibv_context * context, int cqe, void* cq_context, struct ibv_comp_channel* channel,
         int vector),
        (context, cqe, cq_context, channel, vector))
FORWARD(int, ibv_destroy_cq, (struct ibv_cq * cq), (cq))
FORWARD(struct ibv_qp*, ibv_create_qp, (struct ibv_pd * pd, struct ibv_qp_init_attr* attributes),
        (pd, attributes))
FORWARD(int, ibv_destroy_qp, (struct ibv_qp * qp), (qp))
#endif
