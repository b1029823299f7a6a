// Shared receive queues.
#include <cerrno>
#include <memory>

#include "addon/verbs/environment.h"
#include "addon/verbs/fields.h"

namespace viaduct::addon {

namespace {

using verbs::CompletionQueue;
using verbs::Domain;
using verbs::SharedReceiveQueue;
using verbs::XrcDomain;

constexpr Field<ibv_srq_attr> srq_fields[] = {
    field<&ibv_srq_attr::max_wr>("maxWr", IBV_SRQ_MAX_WR),
    field<&ibv_srq_attr::max_sge>("maxSge"),
    field<&ibv_srq_attr::srq_limit>("srqLimit", IBV_SRQ_LIMIT),
};

// An XRC queue has a domain and a completion queue of its own: (pd, attributes, xrcd | 0, cq | 0)
Napi::Value create_srq(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto* domain = object_at<Domain>(info, 0);
  const bool is_xrc = uint32_at(info, 2) != 0;
  auto* xrc = object_at<XrcDomain>(info, 2);
  auto* cq = object_at<CompletionQueue>(info, 3);
  if (domain == nullptr || (is_xrc && (xrc == nullptr || cq == nullptr))) {
    return throw_closed(env, "ibv_create_srq");
  }
  const auto& provider = *domain->provider;
  if (provider.ibv_create_srq == nullptr || provider.ibv_destroy_srq == nullptr) {
    return throw_unsupported(env, "ibv_create_srq");
  }
  ibv_srq_init_attr_ex attr = {};
  from_object(info[1].As<Napi::Object>(), attr.attr, srq_fields);
  ibv_srq* srq = nullptr;
  if (is_xrc) {
    verbs_context* extended = verbs_get_ctx_op(domain->context->verbs, create_srq_ex);
    if (extended == nullptr) return throw_unsupported(env, "ibv_create_srq_ex");
    attr.comp_mask = IBV_SRQ_INIT_ATTR_TYPE | IBV_SRQ_INIT_ATTR_PD | IBV_SRQ_INIT_ATTR_XRCD |
                     IBV_SRQ_INIT_ATTR_CQ;
    attr.srq_type = IBV_SRQT_XRC;
    attr.pd = domain->verbs;
    attr.xrcd = xrc->verbs;
    attr.cq = cq->verbs;
    srq = extended->create_srq_ex(domain->context->verbs, &attr);
  } else {
    ibv_srq_init_attr basic = {};
    basic.attr = attr.attr;
    srq = provider.ibv_create_srq(domain->verbs, &basic);
    attr.attr = basic.attr;
  }
  if (srq == nullptr) return throw_verbs_error(env, "ibv_create_srq", errno);
  auto* queue =
      environment_of(info).objects.add(std::make_unique<SharedReceiveQueue>(*domain, srq));
  srq->srq_context = reinterpret_cast<void*>(static_cast<uintptr_t>(queue->handle));
  Napi::Object result = to_object(env, attr.attr, srq_fields);
  set_number(result, "handle", queue->handle);
  uint32_t number = 0;
  if (is_xrc) {
    const int error = ibv_get_srq_num(srq, &number);
    if (error != 0) {
      environment_of(info).objects.destroy(queue->handle);
      return throw_verbs_error(env, "ibv_get_srq_num", error);
    }
  }
  set_number(result, "srqNum", number);
  return result;
}

Napi::Value modify_srq(const Napi::CallbackInfo& info) {
  auto* queue = object_at<SharedReceiveQueue>(info, 0);
  if (queue == nullptr) return throw_closed(info.Env(), "ibv_modify_srq");
  if (queue->provider->ibv_modify_srq == nullptr) {
    return throw_unsupported(info.Env(), "ibv_modify_srq");
  }
  ibv_srq_attr attr = {};
  const uint32_t mask = from_object(info[1].As<Napi::Object>(), attr, srq_fields);
  const int error = queue->provider->ibv_modify_srq(queue->verbs, &attr, static_cast<int>(mask));
  if (error != 0) {
    return throw_verbs_error(info.Env(), "ibv_modify_srq", error > 0 ? error : errno);
  }
  return info.Env().Undefined();
}

Napi::Value query_srq(const Napi::CallbackInfo& info) {
  auto* queue = object_at<SharedReceiveQueue>(info, 0);
  if (queue == nullptr) return throw_closed(info.Env(), "ibv_query_srq");
  if (queue->provider->ibv_query_srq == nullptr) {
    return throw_unsupported(info.Env(), "ibv_query_srq");
  }
  ibv_srq_attr attr = {};
  const int error = queue->provider->ibv_query_srq(queue->verbs, &attr);
  if (error != 0) {
    return throw_verbs_error(info.Env(), "ibv_query_srq", error > 0 ? error : errno);
  }
  return to_object(info.Env(), attr, srq_fields);
}

}  // namespace

void export_verbs_shared_receive_queues(Napi::Env env, Napi::Object exports,
                                        VerbsEnvironment& environment) {
  define(env, exports, environment, "createSrq", create_srq);
  define(env, exports, environment, "modifySrq", modify_srq);
  define(env, exports, environment, "querySrq", query_srq);
}

}  // namespace viaduct::addon
