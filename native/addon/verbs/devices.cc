// Providers, their devices, what can be asked of a device, and its asynchronous events.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "addon/verbs/addresses.h"
#include "addon/verbs/environment.h"
#include "addon/verbs/fields.h"
#include "softhca/extensions.h"

namespace viaduct::addon {

namespace {

using verbs::Context;
using verbs::Provider;

const std::shared_ptr<const Provider>* provider_at(const Napi::CallbackInfo& info, size_t index) {
  const auto& providers = environment_of(info).providers;
  const uint32_t number = uint32_at(info, index);
  return number < providers.size() ? &providers[number] : nullptr;
}

// Its number, or the reason why it can't be loaded.
Napi::Value load_provider(const Napi::CallbackInfo& info) {
  std::string problem;
  auto provider = Provider::load(info[0].As<Napi::String>().Utf8Value(), problem);
  if (!provider) return Napi::String::New(info.Env(), problem);
  auto& providers = environment_of(info).providers;
  providers.push_back(std::move(provider));
  return Napi::Number::New(info.Env(), static_cast<double>(providers.size() - 1));
}

// A provider's list of devices; those that are opened stay valid when the list is freed.
class DeviceList {
 public:
  explicit DeviceList(const Provider& provider) : provider_(provider) {
    devices_ = provider.ibv_get_device_list(&count_);
    if (devices_ == nullptr) error_ = errno;
  }
  DeviceList(const DeviceList&) = delete;
  DeviceList& operator=(const DeviceList&) = delete;
  ~DeviceList() {
    if (devices_ != nullptr) provider_.ibv_free_device_list(devices_);
  }
  int error() const { return error_; }
  ibv_device** begin() const { return devices_; }
  ibv_device** end() const { return devices_ + count_; }

 private:
  const Provider& provider_;
  ibv_device** devices_ = nullptr;
  int count_ = 0;
  int error_ = 0;
};

Napi::Value list_devices(const Napi::CallbackInfo& info) {
  const auto* provider = provider_at(info, 0);
  if (provider == nullptr) return throw_closed(info.Env(), "ibv_get_device_list");
  const DeviceList list(**provider);
  // A kernel without RDMA has no devices, which is no failure.
  if (list.error() != 0 && list.error() != ENOSYS && list.error() != ENOENT) {
    return throw_verbs_error(info.Env(), "ibv_get_device_list", list.error());
  }
  Napi::Array result = Napi::Array::New(info.Env());
  if (list.error() != 0) return result;
  for (ibv_device* device : list) {
    Napi::Object each = Napi::Object::New(info.Env());
    each.Set("name", (*provider)->ibv_get_device_name(device));
    set_bigint(each, "guid", be64toh((*provider)->ibv_get_device_guid(device)));
    set_number(each, "nodeType", device->node_type);
    set_number(each, "transportType", device->transport_type);
    result.Set(result.Length(), each);
  }
  return result;
}

bool set_nonblocking(int descriptor) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  return flags >= 0 && ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0;
}

Napi::Value open_device(const Napi::CallbackInfo& info) {
  const auto* provider = provider_at(info, 0);
  if (provider == nullptr) return throw_closed(info.Env(), "ibv_open_device");
  const std::string name = info[1].As<Napi::String>().Utf8Value();
  const DeviceList list(**provider);
  for (ibv_device* device : list) {
    if (name != (*provider)->ibv_get_device_name(device)) continue;
    ibv_context* opened = (*provider)->ibv_open_device(device);
    if (opened == nullptr) {
      return throw_explained_error(info.Env(), **provider, "ibv_open_device", errno);
    }
    if (!set_nonblocking(opened->async_fd)) {
      const int error = errno;
      (*provider)->ibv_close_device(opened);
      return throw_verbs_error(info.Env(), "ibv_open_device", error);
    }
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("handle", adopt(info, std::make_unique<Context>(*provider, opened)));
    set_number(result, "asyncDescriptor", opened->async_fd);
    set_number(result, "completionVectors", opened->num_comp_vectors);
    return result;
  }
  return throw_verbs_error(info.Env(), "ibv_open_device", ENODEV);
}

constexpr Field<ibv_device_attr> device_fields[] = {
    field<&ibv_device_attr::max_mr_size>("maxMrSize"),
    field<&ibv_device_attr::page_size_cap>("pageSizeCap"),
    field<&ibv_device_attr::vendor_id>("vendorId"),
    field<&ibv_device_attr::vendor_part_id>("vendorPartId"),
    field<&ibv_device_attr::hw_ver>("hwVer"),
    field<&ibv_device_attr::max_qp>("maxQp"),
    field<&ibv_device_attr::max_qp_wr>("maxQpWr"),
    field<&ibv_device_attr::device_cap_flags>("deviceCapFlags"),
    field<&ibv_device_attr::max_sge>("maxSge"),
    field<&ibv_device_attr::max_sge_rd>("maxSgeRd"),
    field<&ibv_device_attr::max_cq>("maxCq"),
    field<&ibv_device_attr::max_cqe>("maxCqe"),
    field<&ibv_device_attr::max_mr>("maxMr"),
    field<&ibv_device_attr::max_pd>("maxPd"),
    field<&ibv_device_attr::max_qp_rd_atom>("maxQpRdAtom"),
    field<&ibv_device_attr::max_res_rd_atom>("maxResRdAtom"),
    field<&ibv_device_attr::max_qp_init_rd_atom>("maxQpInitRdAtom"),
    field<&ibv_device_attr::atomic_cap>("atomicCap"),
    field<&ibv_device_attr::max_mw>("maxMw"),
    field<&ibv_device_attr::max_raw_ethy_qp>("maxRawEthyQp"),
    field<&ibv_device_attr::max_mcast_grp>("maxMcastGrp"),
    field<&ibv_device_attr::max_mcast_qp_attach>("maxMcastQpAttach"),
    field<&ibv_device_attr::max_total_mcast_qp_attach>("maxTotalMcastQpAttach"),
    field<&ibv_device_attr::max_ah>("maxAh"),
    field<&ibv_device_attr::max_srq>("maxSrq"),
    field<&ibv_device_attr::max_srq_wr>("maxSrqWr"),
    field<&ibv_device_attr::max_srq_sge>("maxSrqSge"),
    field<&ibv_device_attr::max_pkeys>("maxPkeys"),
    field<&ibv_device_attr::local_ca_ack_delay>("localCaAckDelay"),
    field<&ibv_device_attr::phys_port_cnt>("physPortCnt"),
};

constexpr Field<ibv_device_attr_ex> extended_device_fields[] = {
    field<&ibv_device_attr_ex::completion_timestamp_mask>("completionTimestampMask"),
    field<&ibv_device_attr_ex::hca_core_clock>("hcaCoreClock"),
    field<&ibv_device_attr_ex::device_cap_flags_ex>("deviceCapFlagsEx"),
    field<&ibv_device_attr_ex::raw_packet_caps>("rawPacketCaps"),
    field<&ibv_device_attr_ex::max_dm_size>("maxDmSize"),
    field<&ibv_device_attr_ex::xrc_odp_caps>("xrcOdpCaps"),
};

Napi::Value query_device(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto* context = object_at<Context>(info, 0);
  if (context == nullptr) return throw_closed(env, "ibv_query_device");
  ibv_device_attr_ex attr = {};
  verbs_context* extended = verbs_get_ctx_op(context->verbs, query_device_ex);
  int error = EOPNOTSUPP;
  if (extended != nullptr) {
    error = extended->query_device_ex(context->verbs, nullptr, &attr, sizeof attr);
  }
  if (error == EOPNOTSUPP || error == ENOSYS) {
    if (context->provider->ibv_query_device == nullptr) {
      return throw_unsupported(env, "ibv_query_device");
    }
    error = context->provider->ibv_query_device(context->verbs, &attr.orig_attr);
  }
  if (error != 0) return throw_verbs_error(env, "ibv_query_device", error);
  Napi::Object result = to_object(env, attr.orig_attr, device_fields);
  const Napi::Object more = to_object(env, attr, extended_device_fields);
  for (const auto& each : extended_device_fields) result.Set(each.name, more.Get(each.name));
  const char* version = attr.orig_attr.fw_ver;
  result.Set("fwVer", std::string(version, ::strnlen(version, sizeof attr.orig_attr.fw_ver)));
  set_bigint(result, "nodeGuid", be64toh(attr.orig_attr.node_guid));
  set_bigint(result, "sysImageGuid", be64toh(attr.orig_attr.sys_image_guid));
  set_bigint(result, "odpGeneralCaps", attr.odp_caps.general_caps);
  set_number(result, "rcOdpCaps", attr.odp_caps.per_transport_caps.rc_odp_caps);
  set_number(result, "ucOdpCaps", attr.odp_caps.per_transport_caps.uc_odp_caps);
  set_number(result, "udOdpCaps", attr.odp_caps.per_transport_caps.ud_odp_caps);
  return result;
}

constexpr Field<ibv_port_attr> port_fields[] = {
    field<&ibv_port_attr::state>("state"),
    field<&ibv_port_attr::max_mtu>("maxMtu"),
    field<&ibv_port_attr::active_mtu>("activeMtu"),
    field<&ibv_port_attr::gid_tbl_len>("gidTblLen"),
    field<&ibv_port_attr::port_cap_flags>("portCapFlags"),
    field<&ibv_port_attr::max_msg_sz>("maxMsgSz"),
    field<&ibv_port_attr::bad_pkey_cntr>("badPkeyCntr"),
    field<&ibv_port_attr::qkey_viol_cntr>("qkeyViolCntr"),
    field<&ibv_port_attr::pkey_tbl_len>("pkeyTblLen"),
    field<&ibv_port_attr::lid>("lid"),
    field<&ibv_port_attr::sm_lid>("smLid"),
    field<&ibv_port_attr::lmc>("lmc"),
    field<&ibv_port_attr::max_vl_num>("maxVlNum"),
    field<&ibv_port_attr::sm_sl>("smSl"),
    field<&ibv_port_attr::subnet_timeout>("subnetTimeout"),
    field<&ibv_port_attr::init_type_reply>("initTypeReply"),
    field<&ibv_port_attr::active_width>("activeWidth"),
    field<&ibv_port_attr::active_speed>("activeSpeed"),
    field<&ibv_port_attr::phys_state>("physState"),
    field<&ibv_port_attr::link_layer>("linkLayer"),
    field<&ibv_port_attr::flags>("flags"),
    field<&ibv_port_attr::port_cap_flags2>("portCapFlags2"),
};

Napi::Value query_port(const Napi::CallbackInfo& info) {
  auto* context = object_at<Context>(info, 0);
  if (context == nullptr) return throw_closed(info.Env(), "ibv_query_port");
  const auto port = static_cast<uint8_t>(uint32_at(info, 1));
  ibv_port_attr attr = {};
  int error = EOPNOTSUPP;
  verbs_context* extended = verbs_get_ctx_op(context->verbs, query_port);
  if (extended != nullptr) {
    error = extended->query_port(context->verbs, port, &attr, sizeof attr);
  } else if (context->provider->ibv_query_port != nullptr) {
    error = context->provider->ibv_query_port(context->verbs, port,
                                              reinterpret_cast<_compat_ibv_port_attr*>(&attr));
  }
  // Some versions return -1 and set errno, others return the error (ibv_query_port(3) says the
  // latter).
  if (error != 0) return throw_verbs_error(info.Env(), "ibv_query_port", error > 0 ? error : errno);
  return to_object(info.Env(), attr, port_fields);
}

// (context, port, index): 16 bytes
Napi::Value query_gid(const Napi::CallbackInfo& info) {
  auto* context = object_at<Context>(info, 0);
  if (context == nullptr) return throw_closed(info.Env(), "ibv_query_gid");
  if (context->provider->ibv_query_gid == nullptr) {
    return throw_unsupported(info.Env(), "ibv_query_gid");
  }
  ibv_gid gid = {};
  if (context->provider->ibv_query_gid(context->verbs, static_cast<uint8_t>(uint32_at(info, 1)),
                                       info[2].As<Napi::Number>().Int32Value(), &gid) != 0) {
    return throw_verbs_error(info.Env(), "ibv_query_gid", errno);
  }
  return gid_to_bytes(info.Env(), gid);
}

constexpr Field<ibv_gid_entry> gid_fields[] = {
    field<&ibv_gid_entry::gid_index>("gidIndex"),
    field<&ibv_gid_entry::port_num>("portNum"),
    field<&ibv_gid_entry::gid_type>("gidType"),
    field<&ibv_gid_entry::ndev_ifindex>("ndevIfindex"),
};

Napi::Value query_gid_table(const Napi::CallbackInfo& info) {
  auto* context = object_at<Context>(info, 0);
  if (context == nullptr) return throw_closed(info.Env(), "ibv_query_gid_table");
  auto* const query = context->provider->_ibv_query_gid_table;
  if (query == nullptr) return throw_unsupported(info.Env(), "ibv_query_gid_table");
  std::vector<ibv_gid_entry> entries(uint32_at(info, 1));
  const ssize_t count =
      query(context->verbs, entries.data(), entries.size(), 0, sizeof(ibv_gid_entry));
  if (count < 0) {
    return throw_verbs_error(info.Env(), "ibv_query_gid_table", static_cast<int>(-count));
  }
  Napi::Array result = Napi::Array::New(info.Env());
  for (ssize_t i = 0; i < count; ++i) {
    Napi::Object each = to_object(info.Env(), entries[i], gid_fields);
    each.Set("gid", gid_to_bytes(info.Env(), entries[i].gid));
    result.Set(static_cast<uint32_t>(i), each);
  }
  return result;
}

// What the software HCA counted of packets: an array of { pid, counters }, one for each process.
Napi::Value query_counters(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto* context = object_at<Context>(info, 0);
  if (context == nullptr) return throw_closed(env, "viaduct_query_counters");
  auto* const query = reinterpret_cast<decltype(&viaduct_query_counters)>(
      context->provider->extension("viaduct_query_counters"));
  auto* const name_of = reinterpret_cast<decltype(&viaduct_counter_name)>(
      context->provider->extension("viaduct_counter_name"));
  if (query == nullptr || name_of == nullptr) {
    return throw_unsupported(env, "viaduct_query_counters");
  }
  std::vector<viaduct_packet_counters> processes(query(context->verbs, nullptr, 0));
  const size_t count =
      query(context->verbs, processes.data(), static_cast<uint32_t>(processes.size()));
  Napi::Array result = Napi::Array::New(env);
  for (size_t i = 0; i < std::min(count, processes.size()); ++i) {
    Napi::Object counters = Napi::Object::New(env);
    for (uint32_t at = 0; const char* name = name_of(at); ++at) {
      set_bigint(counters, name, processes[i].values[at]);
    }
    Napi::Object each = Napi::Object::New(env);
    set_number(each, "pid", processes[i].pid);
    each.Set("counters", counters);
    result.Set(static_cast<uint32_t>(i), each);
  }
  return result;
}

Napi::Value query_pkey(const Napi::CallbackInfo& info) {
  auto* context = object_at<Context>(info, 0);
  if (context == nullptr) return throw_closed(info.Env(), "ibv_query_pkey");
  if (context->provider->ibv_query_pkey == nullptr) {
    return throw_unsupported(info.Env(), "ibv_query_pkey");
  }
  __be16 pkey = 0;
  if (context->provider->ibv_query_pkey(context->verbs, static_cast<uint8_t>(uint32_at(info, 1)),
                                        info[2].As<Napi::Number>().Int32Value(), &pkey) != 0) {
    return throw_verbs_error(info.Env(), "ibv_query_pkey", errno);
  }
  return Napi::Number::New(info.Env(), be16toh(pkey));
}

verbs::Handle handle_in(void* context) {
  return static_cast<verbs::Handle>(reinterpret_cast<uintptr_t>(context));
}

// The object an event is about: 0 where it is a port or the device.
verbs::Handle subject_of(const ibv_async_event& event) {
  switch (event.event_type) {
    case IBV_EVENT_CQ_ERR:
      return handle_in(event.element.cq->cq_context);
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
    case IBV_EVENT_COMM_EST:
    case IBV_EVENT_SQ_DRAINED:
    case IBV_EVENT_PATH_MIG:
    case IBV_EVENT_PATH_MIG_ERR:
    case IBV_EVENT_QP_LAST_WQE_REACHED:
      return handle_in(event.element.qp->qp_context);
    case IBV_EVENT_SRQ_ERR:
    case IBV_EVENT_SRQ_LIMIT_REACHED:
      return handle_in(event.element.srq->srq_context);
    default:
      return 0;
  }
}

bool is_of_port(ibv_event_type type) {
  switch (type) {
    case IBV_EVENT_PORT_ACTIVE:
    case IBV_EVENT_PORT_ERR:
    case IBV_EVENT_LID_CHANGE:
    case IBV_EVENT_PKEY_CHANGE:
    case IBV_EVENT_SM_CHANGE:
    case IBV_EVENT_CLIENT_REREGISTER:
    case IBV_EVENT_GID_CHANGE:
      return true;
    default:
      return false;
  }
}

// The next event, or null if none waits.
Napi::Value take_async_event(const Napi::CallbackInfo& info) {
  auto* context = object_at<Context>(info, 0);
  if (context == nullptr) return throw_closed(info.Env(), "ibv_get_async_event");
  const auto& provider = *context->provider;
  if (provider.ibv_get_async_event == nullptr || provider.ibv_ack_async_event == nullptr) {
    return throw_unsupported(info.Env(), "ibv_get_async_event");
  }
  ibv_async_event event = {};
  if (provider.ibv_get_async_event(context->verbs, &event) != 0) {
    if (errno == EAGAIN || errno == EINTR) return info.Env().Null();
    return throw_verbs_error(info.Env(), "ibv_get_async_event", errno);
  }
  Napi::Object result = Napi::Object::New(info.Env());
  set_number(result, "type", event.event_type);
  set_number(result, "handle", subject_of(event));
  set_number(result, "port", is_of_port(event.event_type) ? event.element.port_num : 0);
  // Acknowledged at once: an event that isn't blocks the object's destruction for ever.
  provider.ibv_ack_async_event(&event);
  return result;
}

}  // namespace

void export_verbs_devices(Napi::Env env, Napi::Object exports, VerbsEnvironment& environment) {
  define(env, exports, environment, "loadProvider", load_provider);
  define(env, exports, environment, "listDevices", list_devices);
  define(env, exports, environment, "openDevice", open_device);
  define(env, exports, environment, "queryDevice", query_device);
  define(env, exports, environment, "queryPort", query_port);
  define(env, exports, environment, "queryGid", query_gid);
  define(env, exports, environment, "queryGidTable", query_gid_table);
  define(env, exports, environment, "queryCounters", query_counters);
  define(env, exports, environment, "queryPkey", query_pkey);
  define(env, exports, environment, "takeAsyncEvent", take_async_event);
}

}  // namespace viaduct::addon
