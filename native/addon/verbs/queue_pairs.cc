// Queue pairs, their states, and XRC domains.
#include <cerrno>
#include <memory>

#include "addon/verbs/addresses.h"
#include "addon/verbs/environment.h"
#include "addon/verbs/fields.h"
#include "softhca/extensions.h"

namespace viaduct::addon {

namespace {

using verbs::CompletionQueue;
using verbs::Context;
using verbs::Domain;
using verbs::QueuePair;
using verbs::SharedReceiveQueue;
using verbs::XrcDomain;

constexpr Field<ibv_qp_cap> cap_fields[] = {
    field<&ibv_qp_cap::max_send_wr>("maxSendWr"),
    field<&ibv_qp_cap::max_recv_wr>("maxRecvWr"),
    field<&ibv_qp_cap::max_send_sge>("maxSendSge"),
    field<&ibv_qp_cap::max_recv_sge>("maxRecvSge"),
    field<&ibv_qp_cap::max_inline_data>("maxInlineData"),
};

constexpr Field<ibv_qp_attr> attr_fields[] = {
    field<&ibv_qp_attr::qp_state>("qpState", IBV_QP_STATE),
    field<&ibv_qp_attr::cur_qp_state>("curQpState", IBV_QP_CUR_STATE),
    field<&ibv_qp_attr::path_mtu>("pathMtu", IBV_QP_PATH_MTU),
    field<&ibv_qp_attr::path_mig_state>("pathMigState", IBV_QP_PATH_MIG_STATE),
    field<&ibv_qp_attr::qkey>("qkey", IBV_QP_QKEY),
    field<&ibv_qp_attr::rq_psn>("rqPsn", IBV_QP_RQ_PSN),
    field<&ibv_qp_attr::sq_psn>("sqPsn", IBV_QP_SQ_PSN),
    field<&ibv_qp_attr::dest_qp_num>("destQpNum", IBV_QP_DEST_QPN),
    field<&ibv_qp_attr::qp_access_flags>("qpAccessFlags", IBV_QP_ACCESS_FLAGS),
    field<&ibv_qp_attr::pkey_index>("pkeyIndex", IBV_QP_PKEY_INDEX),
    field<&ibv_qp_attr::en_sqd_async_notify>("enSqdAsyncNotify", IBV_QP_EN_SQD_ASYNC_NOTIFY),
    field<&ibv_qp_attr::sq_draining>("sqDraining"),
    field<&ibv_qp_attr::max_rd_atomic>("maxRdAtomic", IBV_QP_MAX_QP_RD_ATOMIC),
    field<&ibv_qp_attr::max_dest_rd_atomic>("maxDestRdAtomic", IBV_QP_MAX_DEST_RD_ATOMIC),
    field<&ibv_qp_attr::min_rnr_timer>("minRnrTimer", IBV_QP_MIN_RNR_TIMER),
    field<&ibv_qp_attr::port_num>("portNum", IBV_QP_PORT),
    field<&ibv_qp_attr::timeout>("timeout", IBV_QP_TIMEOUT),
    field<&ibv_qp_attr::retry_cnt>("retryCnt", IBV_QP_RETRY_CNT),
    field<&ibv_qp_attr::rnr_retry>("rnrRetry", IBV_QP_RNR_RETRY),
    // The alternate path is one attribute of the mask: its address vector brings these.
    field<&ibv_qp_attr::alt_pkey_index>("altPkeyIndex"),
    field<&ibv_qp_attr::alt_port_num>("altPortNum"),
    field<&ibv_qp_attr::alt_timeout>("altTimeout"),
    field<&ibv_qp_attr::rate_limit>("rateLimit", IBV_QP_RATE_LIMIT),
};

// Objects that a description names by handle; 0 names none.
struct Parts {
  const Context* context = nullptr;
  Domain* domain = nullptr;
  const XrcDomain* xrc = nullptr;
  const CompletionQueue* send_cq = nullptr;
  const CompletionQueue* recv_cq = nullptr;
  const SharedReceiveQueue* srq = nullptr;
};

template <typename T>
bool find_part(const verbs::Objects& objects, Napi::Object description, const char* name,
               T*& part) {
  const uint32_t handle = description.Get(name).As<Napi::Number>().Uint32Value();
  if (handle == 0) return true;
  part = objects.find<std::remove_const_t<T>>(handle);
  return part != nullptr;
}

ibv_qp* create_extended(const Parts& parts, ibv_qp_init_attr_ex& attr) {
  verbs_context* extended = verbs_get_ctx_op(parts.context->verbs, create_qp_ex);
  if (extended == nullptr) {
    errno = EOPNOTSUPP;
    return nullptr;
  }
  return extended->create_qp_ex(parts.context->verbs, &attr);
}

ibv_qp* create_classic(const Parts& parts, const ibv_qp_init_attr_ex& from, ibv_qp_cap& cap) {
  ibv_qp_init_attr attr = {};
  attr.send_cq = from.send_cq;
  attr.recv_cq = from.recv_cq;
  attr.srq = from.srq;
  attr.cap = from.cap;
  attr.qp_type = from.qp_type;
  attr.sq_sig_all = from.sq_sig_all;
  ibv_qp* qp = parts.domain->provider->ibv_create_qp(parts.domain->verbs, &attr);
  cap = attr.cap;
  return qp;
}

Napi::Value create_qp(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const auto description = info[0].As<Napi::Object>();
  const auto& objects = environment_of(info).objects;
  Parts parts;
  if (!find_part(objects, description, "context", parts.context) ||
      !find_part(objects, description, "pd", parts.domain) ||
      !find_part(objects, description, "xrcd", parts.xrc) ||
      !find_part(objects, description, "sendCq", parts.send_cq) ||
      !find_part(objects, description, "recvCq", parts.recv_cq) ||
      !find_part(objects, description, "srq", parts.srq) || parts.context == nullptr) {
    return throw_closed(env, "ibv_create_qp");
  }
  const auto& provider = *parts.context->provider;
  if (provider.ibv_create_qp == nullptr || provider.ibv_destroy_qp == nullptr) {
    return throw_unsupported(env, "ibv_create_qp");
  }
  ibv_qp_init_attr_ex attr = {};
  from_object(description, attr.cap, cap_fields);
  attr.qp_type = static_cast<ibv_qp_type>(description.Get("type").As<Napi::Number>().Int32Value());
  attr.sq_sig_all = description.Get("sqSigAll").As<Napi::Boolean>().Value() ? 1 : 0;
  if (parts.send_cq != nullptr) attr.send_cq = parts.send_cq->verbs;
  if (parts.recv_cq != nullptr) attr.recv_cq = parts.recv_cq->verbs;
  if (parts.srq != nullptr) attr.srq = parts.srq->verbs;
  if (parts.domain != nullptr) {
    attr.pd = parts.domain->verbs;
    attr.comp_mask |= IBV_QP_INIT_ATTR_PD;
  }
  if (parts.xrc != nullptr) {
    attr.xrcd = parts.xrc->verbs;
    attr.comp_mask |= IBV_QP_INIT_ATTR_XRCD;
  }
  attr.create_flags = description.Get("createFlags").As<Napi::Number>().Uint32Value();
  if (attr.create_flags != 0) attr.comp_mask |= IBV_QP_INIT_ATTR_CREATE_FLAGS;
  attr.send_ops_flags = uint64_of(description.Get("sendOps"));
  if (attr.send_ops_flags != 0) attr.comp_mask |= IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;

  ibv_qp* qp = nullptr;
  if (attr.comp_mask == IBV_QP_INIT_ATTR_PD) {
    qp = create_classic(parts, attr, attr.cap);
  } else {
    qp = create_extended(parts, attr);
  }
  if (qp == nullptr) return throw_verbs_error(env, "ibv_create_qp", errno);
  ibv_qp_ex* newer = nullptr;
  if (attr.send_ops_flags != 0 && provider.ibv_qp_to_qp_ex != nullptr) {
    newer = provider.ibv_qp_to_qp_ex(qp);
  }
  if (attr.send_ops_flags != 0 && newer == nullptr) {
    provider.ibv_destroy_qp(qp);
    return throw_unsupported(env, "ibv_qp_to_qp_ex");
  }
  auto* pair = environment_of(info).objects.add(
      std::make_unique<QueuePair>(*parts.context, parts.domain, qp, newer));
  qp->qp_context = reinterpret_cast<void*>(static_cast<uintptr_t>(pair->handle));
  Napi::Object result = Napi::Object::New(env);
  set_number(result, "handle", pair->handle);
  set_number(result, "qpNum", qp->qp_num);
  result.Set("cap", to_object(env, attr.cap, cap_fields));
  return result;
}

// (qp, attributes): throws with the mask that was asked for
Napi::Value modify_qp(const Napi::CallbackInfo& info) {
  auto* pair = object_at<QueuePair>(info, 0);
  if (pair == nullptr) return throw_closed(info.Env(), "ibv_modify_qp");
  if (pair->provider->ibv_modify_qp == nullptr) {
    return throw_unsupported(info.Env(), "ibv_modify_qp");
  }
  const auto object = info[1].As<Napi::Object>();
  ibv_qp_attr attr = {};
  uint32_t mask = from_object(object, attr, attr_fields);
  const Napi::Value vector = object.Get("ahAttr");
  if (vector.IsObject()) {
    attr.ah_attr = address_vector_from(vector.As<Napi::Object>());
    mask |= IBV_QP_AV;
  }
  const Napi::Value alternate = object.Get("altAhAttr");
  if (alternate.IsObject()) {
    attr.alt_ah_attr = address_vector_from(alternate.As<Napi::Object>());
    mask |= IBV_QP_ALT_PATH;
  }
  const Napi::Value cap = object.Get("cap");
  if (cap.IsObject()) {
    from_object(cap.As<Napi::Object>(), attr.cap, cap_fields);
    mask |= IBV_QP_CAP;
  }
  const int error = pair->provider->ibv_modify_qp(pair->verbs, &attr, static_cast<int>(mask));
  if (error != 0) {
    return throw_explained_error(info.Env(), *pair->provider, "ibv_modify_qp",
                                 error > 0 ? error : errno);
  }
  return info.Env().Undefined();
}

Napi::Value query_qp(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto* pair = object_at<QueuePair>(info, 0);
  if (pair == nullptr) return throw_closed(env, "ibv_query_qp");
  if (pair->provider->ibv_query_qp == nullptr) return throw_unsupported(env, "ibv_query_qp");
  ibv_qp_attr attr = {};
  ibv_qp_init_attr init = {};
  constexpr int all = IBV_QP_RATE_LIMIT - 1;
  const int error = pair->provider->ibv_query_qp(pair->verbs, &attr, all, &init);
  if (error != 0) return throw_verbs_error(env, "ibv_query_qp", error > 0 ? error : errno);
  Napi::Object result = to_object(env, attr, attr_fields);
  result.Set("ahAttr", address_vector_to(env, attr.ah_attr));
  result.Set("altAhAttr", address_vector_to(env, attr.alt_ah_attr));
  result.Set("cap", to_object(env, init.cap, cap_fields));
  result.Set("sqSigAll", Napi::Boolean::New(env, init.sq_sig_all != 0));
  return result;
}

constexpr Field<ibv_ece> ece_fields[] = {
    field<&ibv_ece::vendor_id>("vendorId"),
    field<&ibv_ece::options>("options"),
    field<&ibv_ece::comp_mask>("compMask"),
};

Napi::Value query_ece(const Napi::CallbackInfo& info) {
  auto* pair = object_at<QueuePair>(info, 0);
  if (pair == nullptr) return throw_closed(info.Env(), "ibv_query_ece");
  if (pair->provider->ibv_query_ece == nullptr) {
    return throw_unsupported(info.Env(), "ibv_query_ece");
  }
  ibv_ece ece = {};
  const int error = pair->provider->ibv_query_ece(pair->verbs, &ece);
  if (error != 0) return throw_verbs_error(info.Env(), "ibv_query_ece", error);
  return to_object(info.Env(), ece, ece_fields);
}

Napi::Value set_ece(const Napi::CallbackInfo& info) {
  auto* pair = object_at<QueuePair>(info, 0);
  if (pair == nullptr) return throw_closed(info.Env(), "ibv_set_ece");
  if (pair->provider->ibv_set_ece == nullptr) return throw_unsupported(info.Env(), "ibv_set_ece");
  ibv_ece ece = {};
  from_object(info[1].As<Napi::Object>(), ece, ece_fields);
  const int error = pair->provider->ibv_set_ece(pair->verbs, &ece);
  if (error != 0) return throw_verbs_error(info.Env(), "ibv_set_ece", error);
  return info.Env().Undefined();
}

constexpr Field<viaduct_qp_path> path_fields[] = {
    field<&viaduct_qp_path::path>("path"),
    field<&viaduct_qp_path::peer_pid>("peerPid"),
    field<&viaduct_qp_path::copy_permitted>("copyPermitted"),
    field<&viaduct_qp_path::direct_regions>("directRegions"),
    field<&viaduct_qp_path::copied_regions>("copiedRegions"),
    field<&viaduct_qp_path::direct_operations>("directOperations"),
    field<&viaduct_qp_path::direct_bytes>("directBytes"),
    field<&viaduct_qp_path::copied_operations>("copiedOperations"),
    field<&viaduct_qp_path::copied_bytes>("copiedBytes"),
    field<&viaduct_qp_path::packet_operations>("packetOperations"),
    field<&viaduct_qp_path::packet_bytes>("packetBytes"),
};

// The software HCA can say this; no other provider has such a function.
Napi::Value explain_qp(const Napi::CallbackInfo& info) {
  auto* pair = object_at<QueuePair>(info, 0);
  if (pair == nullptr) return throw_closed(info.Env(), "viaduct_explain_qp");
  auto* const explain = reinterpret_cast<decltype(&viaduct_explain_qp)>(
      pair->provider->extension("viaduct_explain_qp"));
  if (explain == nullptr) return throw_unsupported(info.Env(), "viaduct_explain_qp");
  viaduct_qp_path path = {};
  path.size = sizeof path;
  const int error = explain(pair->verbs, &path);
  if (error != 0) return throw_verbs_error(info.Env(), "viaduct_explain_qp", error);
  Napi::Object result = to_object(info.Env(), path, path_fields);
  result.Set("reason", path.text == nullptr ? "" : path.text);
  return result;
}

// (context, descriptor of the file that names it or -1, open flags)
Napi::Value open_xrcd(const Napi::CallbackInfo& info) {
  auto* context = object_at<Context>(info, 0);
  if (context == nullptr) return throw_closed(info.Env(), "ibv_open_xrcd");
  if (verbs_get_ctx_op(context->verbs, open_xrcd) == nullptr) {
    return throw_unsupported(info.Env(), "ibv_open_xrcd");
  }
  ibv_xrcd_init_attr attr = {};
  attr.comp_mask = IBV_XRCD_INIT_ATTR_FD | IBV_XRCD_INIT_ATTR_OFLAGS;
  attr.fd = info[1].As<Napi::Number>().Int32Value();
  attr.oflags = info[2].As<Napi::Number>().Int32Value();
  ibv_xrcd* xrcd = ibv_open_xrcd(context->verbs, &attr);
  if (xrcd == nullptr) return throw_verbs_error(info.Env(), "ibv_open_xrcd", errno);
  return adopt(info, std::make_unique<XrcDomain>(*context, xrcd));
}

}  // namespace

void export_verbs_queue_pairs(Napi::Env env, Napi::Object exports, VerbsEnvironment& environment) {
  define(env, exports, environment, "createQp", create_qp);
  define(env, exports, environment, "modifyQp", modify_qp);
  define(env, exports, environment, "queryQp", query_qp);
  define(env, exports, environment, "queryEce", query_ece);
  define(env, exports, environment, "setEce", set_ece);
  define(env, exports, environment, "explainQp", explain_qp);
  define(env, exports, environment, "openXrcd", open_xrcd);
}

}  // namespace viaduct::addon
