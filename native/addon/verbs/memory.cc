// Protection domains, memory regions and memory windows.
#include <cerrno>
#include <memory>
#include <utility>

#include "addon/verbs/array_buffer_backing.h"
#include "addon/verbs/environment.h"
#include "aperture/shared_memory.h"
#include "verbs/register_memory.h"

namespace viaduct::addon {

namespace {

using verbs::Context;
using verbs::Domain;
using verbs::QueuePair;
using verbs::Region;
using verbs::Window;

Napi::Value alloc_pd(const Napi::CallbackInfo& info) {
  auto* context = object_at<Context>(info, 0);
  if (context == nullptr) return throw_closed(info.Env(), "ibv_alloc_pd");
  const auto& provider = *context->provider;
  if (provider.ibv_alloc_pd == nullptr || provider.ibv_dealloc_pd == nullptr) {
    return throw_unsupported(info.Env(), "ibv_alloc_pd");
  }
  ibv_pd* pd = provider.ibv_alloc_pd(context->verbs);
  if (pd == nullptr) return throw_verbs_error(info.Env(), "ibv_alloc_pd", errno);
  return adopt(info, std::make_unique<Domain>(*context, pd));
}

Napi::Object describe(Napi::Env env, const Region& region) {
  Napi::Object result = Napi::Object::New(env);
  set_number(result, "handle", region.handle);
  set_number(result, "lkey", region.verbs->lkey);
  set_number(result, "rkey", region.verbs->rkey);
  set_bigint(result, "address", reinterpret_cast<uintptr_t>(region.verbs->addr));
  return result;
}

// A part of an ArrayBuffer, checked; `backing` is null after a failure was thrown.
struct Range {
  std::unique_ptr<ArrayBufferBacking> backing;
  void* address = nullptr;
  size_t length = 0;
};

Range range_at(const Napi::CallbackInfo& info, size_t index) {
  Range range;
  auto backing = ArrayBufferBacking::of(info[index]);
  const auto offset = static_cast<size_t>(info[index + 1].As<Napi::Number>().Int64Value());
  range.length = static_cast<size_t>(info[index + 2].As<Napi::Number>().Int64Value());
  if (backing == nullptr || range.length > backing->size_bytes() ||
      offset > backing->size_bytes() - range.length || !backing->attached()) {
    throw_verbs_error(info.Env(), "ibv_reg_mr", EFAULT);
    return range;
  }
  range.address = backing->data() + offset;
  range.backing = std::move(backing);
  return range;
}

// (pd, buffer, offset, length, access, iova | undefined)
Napi::Value register_memory(const Napi::CallbackInfo& info) {
  auto* domain = object_at<Domain>(info, 0);
  if (domain == nullptr) return throw_closed(info.Env(), "ibv_reg_mr");
  Range range = range_at(info, 1);
  if (range.backing == nullptr) return info.Env().Undefined();
  const bool has_iova = info[5].IsBigInt();
  const uint64_t iova = has_iova ? uint64_of(info[5]) : 0;
  ibv_mr* mr = verbs::register_memory(*domain, range.address, range.length,
                                      has_iova ? &iova : nullptr, uint32_at(info, 4));
  if (mr == nullptr) return throw_verbs_error(info.Env(), "ibv_reg_mr", errno);
  Region* region = environment_of(info).objects.add(
      std::make_unique<Region>(*domain, mr, std::move(range.backing)));
  region->enlist();
  return describe(info.Env(), *region);
}

// (pd, offset, length, iova, descriptor, access)
Napi::Value register_dmabuf(const Napi::CallbackInfo& info) {
  auto* domain = object_at<Domain>(info, 0);
  if (domain == nullptr) return throw_closed(info.Env(), "ibv_reg_dmabuf_mr");
  if (domain->provider->ibv_reg_dmabuf_mr == nullptr) {
    return throw_unsupported(info.Env(), "ibv_reg_dmabuf_mr");
  }
  ibv_mr* mr = domain->provider->ibv_reg_dmabuf_mr(
      domain->verbs, uint64_of(info[1]), static_cast<size_t>(uint64_of(info[2])),
      uint64_of(info[3]), info[4].As<Napi::Number>().Int32Value(),
      static_cast<int>(uint32_at(info, 5)));
  if (mr == nullptr) return throw_verbs_error(info.Env(), "ibv_reg_dmabuf_mr", errno);
  return describe(info.Env(), *environment_of(info).objects.add(
                                  std::make_unique<Region>(*domain, mr, nullptr)));
}

// (mr, flags, pd, buffer, offset, length, access)
Napi::Value reregister_memory(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto* region = object_at<Region>(info, 0);
  if (region == nullptr) return throw_closed(env, "ibv_rereg_mr");
  if (region->provider->ibv_rereg_mr == nullptr) return throw_unsupported(env, "ibv_rereg_mr");
  const auto flags = static_cast<int>(uint32_at(info, 1));
  Domain* domain = region->domain;
  if ((flags & IBV_REREG_MR_CHANGE_PD) != 0) {
    domain = object_at<Domain>(info, 2);
    if (domain == nullptr) return throw_closed(env, "ibv_rereg_mr");
  }
  Range range;
  if ((flags & IBV_REREG_MR_CHANGE_TRANSLATION) != 0) {
    range = range_at(info, 3);
    if (range.backing == nullptr) return env.Undefined();
  }
  region->delist();
  errno = 0;
  const int failure =
      region->provider->ibv_rereg_mr(region->verbs, flags, domain->verbs, range.address,
                                     range.length, static_cast<int>(uint32_at(info, 6)));
  const int error = errno != 0 ? errno : EINVAL;
  // After these the region is as asked for, or as it was (ibv_rereg_mr(3)); else its state is
  // unknown, and both memories stay.
  const bool changed = failure == 0 || failure == IBV_REREG_MR_ERR_DO_FORK_OLD;
  if (changed) {
    region->domain = domain;
    if (range.backing != nullptr) region->backing = std::move(range.backing);
  } else if (failure == IBV_REREG_MR_ERR_CMD || failure == IBV_REREG_MR_ERR_CMD_AND_DO_FORK_NEW) {
    if (range.backing != nullptr) (void)range.backing.release();
  }
  region->enlist();
  if (!changed) return throw_verbs_error(env, "ibv_rereg_mr", error);
  return describe(env, *region);
}

// (pd, advice, flags, Uint8Array of ibv_sge)
Napi::Value advise_memory(const Napi::CallbackInfo& info) {
  auto* domain = object_at<Domain>(info, 0);
  if (domain == nullptr) return throw_closed(info.Env(), "ibv_advise_mr");
  const auto entries = info[3].As<Napi::Uint8Array>();
  std::vector<ibv_sge> list(entries.ByteLength() / sizeof(ibv_sge));
  std::memcpy(list.data(), entries.Data(), list.size() * sizeof(ibv_sge));
  const int error =
      ibv_advise_mr(domain->verbs, static_cast<ibv_advise_mr_advice>(uint32_at(info, 1)),
                    uint32_at(info, 2), list.data(), static_cast<uint32_t>(list.size()));
  if (error != 0) return throw_verbs_error(info.Env(), "ibv_advise_mr", error);
  return info.Env().Undefined();
}

// Memory that peers on this host can map: a software adapter moves it without a system call.
Napi::Value allocate_shareable(const Napi::CallbackInfo& info) {
  using aperture::SharedMemory;
  aperture::SystemError failure;
  auto memory =
      SharedMemory::allocate(static_cast<size_t>(info[0].As<Napi::Number>().Int64Value()), failure);
  if (failure) return throw_verbs_error(info.Env(), failure.call, failure.error);
  std::byte* data = memory->data();
  const size_t size_bytes = memory->size_bytes();
  return Napi::ArrayBuffer::New(
      info.Env(), data, size_bytes,
      [](Napi::Env, void*, SharedMemory* held) { std::unique_ptr<SharedMemory>(held).reset(); },
      memory.release());
}

Napi::Value alloc_mw(const Napi::CallbackInfo& info) {
  auto* domain = object_at<Domain>(info, 0);
  if (domain == nullptr) return throw_closed(info.Env(), "ibv_alloc_mw");
  if (domain->verbs->context->ops.alloc_mw == nullptr ||
      domain->verbs->context->ops.dealloc_mw == nullptr) {
    return throw_unsupported(info.Env(), "ibv_alloc_mw");
  }
  ibv_mw* mw = ibv_alloc_mw(domain->verbs, static_cast<ibv_mw_type>(uint32_at(info, 1)));
  if (mw == nullptr) return throw_verbs_error(info.Env(), "ibv_alloc_mw", errno);
  Window* window = environment_of(info).objects.add(std::make_unique<Window>(*domain, mw));
  Napi::Object result = Napi::Object::New(info.Env());
  set_number(result, "handle", window->handle);
  set_number(result, "rkey", mw->rkey);
  return result;
}

// A type 1 window: (qp, mw, id, send flags, mr, address, length, access); the window's new key
Napi::Value bind_mw(const Napi::CallbackInfo& info) {
  auto* qp = object_at<QueuePair>(info, 0);
  auto* window = object_at<Window>(info, 1);
  auto* region = object_at<Region>(info, 4);
  if (qp == nullptr || window == nullptr || region == nullptr) {
    return throw_closed(info.Env(), "ibv_bind_mw");
  }
  if (qp->verbs->context->ops.bind_mw == nullptr) {
    return throw_unsupported(info.Env(), "ibv_bind_mw");
  }
  ibv_mw_bind bind = {};
  bind.wr_id = uint64_of(info[2]);
  bind.send_flags = uint32_at(info, 3);
  bind.bind_info = {region->verbs, uint64_of(info[5]), uint64_of(info[6]), uint32_at(info, 7)};
  const int error = ibv_bind_mw(qp->verbs, window->verbs, &bind);
  if (error != 0) return throw_verbs_error(info.Env(), "ibv_bind_mw", error);
  return Napi::Number::New(info.Env(), window->verbs->rkey);
}

}  // namespace

void export_verbs_memory(Napi::Env env, Napi::Object exports, VerbsEnvironment& environment) {
  define(env, exports, environment, "allocPd", alloc_pd);
  define(env, exports, environment, "registerMemory", register_memory);
  define(env, exports, environment, "registerDmabuf", register_dmabuf);
  define(env, exports, environment, "reregisterMemory", reregister_memory);
  define(env, exports, environment, "adviseMemory", advise_memory);
  define(env, exports, environment, "allocateShareable", allocate_shareable);
  define(env, exports, environment, "allocMw", alloc_mw);
  define(env, exports, environment, "bindMw", bind_mw);
}

}  // namespace viaduct::addon
