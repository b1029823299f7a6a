#include "addon/verbs/environment.h"

#include <cerrno>
#include <cstring>

#include "addon/verbs/descriptor_watch.h"
#include "addon/verbs/verbs.h"
#include "softhca/extensions.h"

namespace viaduct::addon {

namespace {

Napi::Error verbs_error(Napi::Env env, const char* verb, int error) {
  Napi::Error failure = Napi::Error::New(env, std::string(verb) + ": " + std::strerror(error));
  failure.Set("errno", Napi::Number::New(env, error));
  failure.Set("syscall", Napi::String::New(env, verb));
  return failure;
}

}  // namespace

Napi::Value throw_verbs_error(Napi::Env env, const char* verb, int error) {
  verbs_error(env, verb, error).ThrowAsJavaScriptException();
  return env.Undefined();
}

Napi::Value throw_explained_error(Napi::Env env, const verbs::Provider& provider, const char* verb,
                                  int error) {
  auto* const problem =
      reinterpret_cast<decltype(&viaduct_problem)>(provider.extension("viaduct_problem"));
  const Napi::Error failure = verbs_error(env, verb, error);
  if (problem != nullptr) failure.Set("problem", Napi::String::New(env, problem()));
  failure.ThrowAsJavaScriptException();
  return env.Undefined();
}

Napi::Value throw_unsupported(Napi::Env env, const char* verb) {
  return throw_verbs_error(env, verb, EOPNOTSUPP);
}

Napi::Value throw_closed(Napi::Env env, const char* what) {
  return throw_verbs_error(env, what, EBADF);
}

uint64_t uint64_of(Napi::Value value) {
  if (!value.IsBigInt()) return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
  bool lossless = false;
  return value.As<Napi::BigInt>().Uint64Value(&lossless);
}

void set_number(Napi::Object object, const char* name, double value) {
  object.Set(name, Napi::Number::New(object.Env(), value));
}

void set_bigint(Napi::Object object, const char* name, uint64_t value) {
  object.Set(name, Napi::BigInt::New(object.Env(), value));
}

namespace {

Napi::Value destroy(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), environment_of(info).objects.destroy(uint32_at(info, 0)));
}

}  // namespace

void export_verbs(Napi::Env env, Napi::Object exports) {
  auto* environment = std::make_unique<VerbsEnvironment>(env).release();
  // A thread or process may end with operations in flight: queue pairs are destroyed before the
  // memory they move goes.
  napi_add_env_cleanup_hook(
      env,
      [](void* held) {
        std::unique_ptr<VerbsEnvironment>(static_cast<VerbsEnvironment*>(held)).reset();
      },
      environment);
  export_verbs_devices(env, exports, *environment);
  export_verbs_memory(env, exports, *environment);
  export_verbs_completion(env, exports, *environment);
  export_verbs_queue_pairs(env, exports, *environment);
  export_verbs_shared_receive_queues(env, exports, *environment);
  export_verbs_addresses(env, exports, *environment);
  export_verbs_registration_cache(env, exports, *environment);
  export_verbs_rings(env, exports, *environment);
  define(env, exports, *environment, "destroyObject", destroy);
  exports.Set("DescriptorWatch", DescriptorWatch::define(env));
}

}  // namespace viaduct::addon
