#include "addon/link.h"

#include <cstring>
#include <string>

#include "link/socket_pair.h"

namespace viaduct::addon {
namespace {

// makeSocketPair(bufferBytes): [descriptor, descriptor]; the caller closes them.
Napi::Value make_socket_pair(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const link::SocketPair pair = link::make_socket_pair(info[0].As<Napi::Number>().Int32Value());
  if (pair.error != 0) {
    Napi::Error error =
        Napi::Error::New(env, std::string("socketpair: ") + std::strerror(pair.error));
    error.Set("errno", Napi::Number::New(env, pair.error));
    error.Set("syscall", Napi::String::New(env, "socketpair"));
    error.ThrowAsJavaScriptException();
    return env.Undefined();
  }
  Napi::Array ends = Napi::Array::New(env, 2);
  ends.Set(0U, Napi::Number::New(env, pair.ends[0]));
  ends.Set(1U, Napi::Number::New(env, pair.ends[1]));
  return ends;
}

}  // namespace

void export_link(Napi::Env env, Napi::Object exports) {
  exports.Set("makeSocketPair", Napi::Function::New(env, make_socket_pair, "makeSocketPair"));
}

}  // namespace viaduct::addon
