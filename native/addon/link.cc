#include "addon/link.h"

#include <cstring>
#include <string>

#include "link/host_interface.h"
#include "link/socket_pair.h"

namespace viaduct::addon {
namespace {

Napi::Value throw_link_error(Napi::Env env, const char* call, int error) {
  Napi::Error failure = Napi::Error::New(env, std::string(call) + ": " + std::strerror(error));
  failure.Set("errno", Napi::Number::New(env, error));
  failure.Set("syscall", Napi::String::New(env, call));
  failure.ThrowAsJavaScriptException();
  return env.Undefined();
}

// makeSocketPair(bufferBytes): [descriptor, descriptor]; the caller closes them.
Napi::Value make_socket_pair(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const link::SocketPair pair = link::make_socket_pair(info[0].As<Napi::Number>().Int32Value());
  if (pair.error != 0) return throw_link_error(env, "socketpair", pair.error);
  Napi::Array ends = Napi::Array::New(env, 2);
  ends.Set(0U, Napi::Number::New(env, pair.ends[0]));
  ends.Set(1U, Napi::Number::New(env, pair.ends[1]));
  return ends;
}

// makeHostInterface(address, prefixLength): [tap, network namespace]; the caller closes both.
Napi::Value make_host_interface(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const link::HostInterface made = link::make_host_interface(
      info[0].As<Napi::Number>().Uint32Value(), info[1].As<Napi::Number>().Uint32Value());
  if (made.error != 0) return throw_link_error(env, made.call, made.error);
  Napi::Array result = Napi::Array::New(env, 2);
  result.Set(0U, Napi::Number::New(env, made.tap));
  result.Set(1U, Napi::Number::New(env, made.network_namespace));
  return result;
}

}  // namespace

void export_link(Napi::Env env, Napi::Object exports) {
  exports.Set("makeSocketPair", Napi::Function::New(env, make_socket_pair, "makeSocketPair"));
  exports.Set("makeHostInterface",
              Napi::Function::New(env, make_host_interface, "makeHostInterface"));
}

}  // namespace viaduct::addon
