// Address vectors, address handles and multicast groups.
#include "addon/verbs/addresses.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "addon/verbs/environment.h"
#include "addon/verbs/fields.h"

namespace viaduct::addon {

namespace {

using verbs::AddressHandle;
using verbs::Domain;
using verbs::QueuePair;

constexpr Field<ibv_ah_attr> vector_fields[] = {
    field<&ibv_ah_attr::dlid>("dlid"),
    field<&ibv_ah_attr::sl>("sl"),
    field<&ibv_ah_attr::src_path_bits>("srcPathBits"),
    field<&ibv_ah_attr::static_rate>("staticRate"),
    field<&ibv_ah_attr::is_global>("isGlobal"),
    field<&ibv_ah_attr::port_num>("portNum"),
};

constexpr Field<ibv_global_route> route_fields[] = {
    field<&ibv_global_route::flow_label>("flowLabel"),
    field<&ibv_global_route::sgid_index>("sgidIndex"),
    field<&ibv_global_route::hop_limit>("hopLimit"),
    field<&ibv_global_route::traffic_class>("trafficClass"),
};

Napi::Value create_ah(const Napi::CallbackInfo& info) {
  auto* domain = object_at<Domain>(info, 0);
  if (domain == nullptr) return throw_closed(info.Env(), "ibv_create_ah");
  const auto& provider = *domain->provider;
  if (provider.ibv_create_ah == nullptr || provider.ibv_destroy_ah == nullptr) {
    return throw_unsupported(info.Env(), "ibv_create_ah");
  }
  ibv_ah_attr attr = address_vector_from(info[1].As<Napi::Object>());
  ibv_ah* handle = provider.ibv_create_ah(domain->verbs, &attr);
  if (handle == nullptr) return throw_explained_error(info.Env(), provider, "ibv_create_ah", errno);
  return adopt(info, std::make_unique<AddressHandle>(*domain, handle));
}

// (pd, completion's fields, the 40 bytes before the message, port)
Napi::Value create_ah_from_wc(const Napi::CallbackInfo& info) {
  auto* domain = object_at<Domain>(info, 0);
  if (domain == nullptr) return throw_closed(info.Env(), "ibv_create_ah_from_wc");
  const auto& provider = *domain->provider;
  if (provider.ibv_create_ah_from_wc == nullptr || provider.ibv_destroy_ah == nullptr) {
    return throw_unsupported(info.Env(), "ibv_create_ah_from_wc");
  }
  constexpr Field<ibv_wc> wc_fields[] = {
      field<&ibv_wc::wc_flags>("wcFlags"),
      field<&ibv_wc::src_qp>("srcQp"),
      field<&ibv_wc::slid>("slid"),
      field<&ibv_wc::sl>("sl"),
      field<&ibv_wc::dlid_path_bits>("dlidPathBits"),
      field<&ibv_wc::pkey_index>("pkeyIndex"),
  };
  ibv_wc wc = {};
  from_object(info[1].As<Napi::Object>(), wc, wc_fields);
  ibv_grh grh = {};
  const auto header = info[2].As<Napi::Uint8Array>();
  std::memcpy(&grh, header.Data(), std::min(header.ByteLength(), sizeof grh));
  ibv_ah* handle = provider.ibv_create_ah_from_wc(domain->verbs, &wc, &grh,
                                                  static_cast<uint8_t>(uint32_at(info, 3)));
  if (handle == nullptr) return throw_verbs_error(info.Env(), "ibv_create_ah_from_wc", errno);
  return adopt(info, std::make_unique<AddressHandle>(*domain, handle));
}

// (qp, gid, lid): 0 or an errno value
template <bool Attach>
Napi::Value change_membership(const Napi::CallbackInfo& info) {
  constexpr const char* verb = Attach ? "ibv_attach_mcast" : "ibv_detach_mcast";
  auto* qp = object_at<QueuePair>(info, 0);
  if (qp == nullptr) return throw_closed(info.Env(), verb);
  auto* const change = Attach ? qp->provider->ibv_attach_mcast : qp->provider->ibv_detach_mcast;
  if (change == nullptr) return throw_unsupported(info.Env(), verb);
  const ibv_gid gid = gid_from_bytes(info[1]);
  const int error = change(qp->verbs, &gid, static_cast<uint16_t>(uint32_at(info, 2)));
  if (error != 0) return throw_verbs_error(info.Env(), verb, error);
  return info.Env().Undefined();
}

}  // namespace

Napi::Value gid_to_bytes(Napi::Env env, const ibv_gid& gid) {
  Napi::Uint8Array bytes = Napi::Uint8Array::New(env, sizeof gid);
  std::memcpy(bytes.Data(), &gid, sizeof gid);
  return bytes;
}

ibv_gid gid_from_bytes(Napi::Value value) {
  ibv_gid gid = {};
  const auto bytes = value.As<Napi::Uint8Array>();
  std::memcpy(&gid, bytes.Data(), std::min(bytes.ByteLength(), sizeof gid));
  return gid;
}

ibv_ah_attr address_vector_from(Napi::Object object) {
  ibv_ah_attr attr = {};
  from_object(object, attr, vector_fields);
  const Napi::Value gid = object.Get("dgid");
  if (gid.IsTypedArray()) {
    from_object(object, attr.grh, route_fields);
    attr.grh.dgid = gid_from_bytes(gid);
  }
  return attr;
}

Napi::Object address_vector_to(Napi::Env env, const ibv_ah_attr& attr) {
  Napi::Object object = to_object(env, attr, vector_fields);
  for (const auto& each : route_fields) object.Set(each.name, each.read(env, attr.grh));
  object.Set("dgid", gid_to_bytes(env, attr.grh.dgid));
  return object;
}

void export_verbs_addresses(Napi::Env env, Napi::Object exports, VerbsEnvironment& environment) {
  define(env, exports, environment, "createAh", create_ah);
  define(env, exports, environment, "createAhFromWc", create_ah_from_wc);
  define(env, exports, environment, "attachMcast", change_membership<true>);
  define(env, exports, environment, "detachMcast", change_membership<false>);
}

}  // namespace viaduct::addon
