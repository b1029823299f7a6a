#include "addon/aperture.h"

#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <utility>

#include "aperture/doorbell.h"
#include "aperture/futex.h"
#include "aperture/heartbeat.h"
#include "aperture/mapping.h"
#include "aperture/process_copy.h"

// lib/aperture/native.ts declares these functions and checks their arguments' types; what is
// checked here is what memory safety hangs on.

namespace viaduct::addon {

namespace {

using aperture::DoorbellWatch;
using aperture::Heartbeat;
using aperture::Mapping;
using aperture::SystemError;
using MappingHandle = std::shared_ptr<Mapping>;

Napi::Value throw_system_error(Napi::Env env, const SystemError& failure) {
  Napi::Error error =
      Napi::Error::New(env, std::string(failure.call) + ": " + std::strerror(failure.error));
  error.Set("errno", Napi::Number::New(env, failure.error));
  error.Set("syscall", Napi::String::New(env, failure.call));
  error.ThrowAsJavaScriptException();
  return env.Undefined();
}

Napi::Value throw_range_error(Napi::Env env, const char* message) {
  Napi::RangeError::New(env, message).ThrowAsJavaScriptException();
  return env.Undefined();
}

// V8 allows one live ArrayBuffer per address, so lib/aperture never asks for two. The mapping lives
// until the last ArrayBuffer over it is gone.
Napi::ArrayBuffer buffer_over(Napi::Env env, const MappingHandle& mapping, size_t offset,
                              size_t length) {
  auto* keep_alive = std::make_unique<MappingHandle>(mapping).release();
  return Napi::ArrayBuffer::New(
      env, mapping->data() + offset, length,
      [](Napi::Env, void*, MappingHandle* held) { std::unique_ptr<MappingHandle>(held).reset(); },
      keep_alive);
}

Napi::Object describe(Napi::Env env, const MappingHandle& mapping) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("handle", Napi::External<MappingHandle>::New(
                           env, std::make_unique<MappingHandle>(mapping).release(),
                           [](Napi::Env, MappingHandle* held) {
                             std::unique_ptr<MappingHandle>(held).reset();
                           }));
  result.Set("memory", buffer_over(env, mapping, 0, mapping->size_bytes()));
  result.Set("descriptor", Napi::Number::New(env, mapping->descriptor()));
  return result;
}

MappingHandle* mapping_argument(const Napi::CallbackInfo& info, size_t index) {
  auto* handle = info[index].As<Napi::External<MappingHandle>>().Data();
  if (handle == nullptr || !*handle) {
    throw_range_error(info.Env(), "the aperture is closed");
    return nullptr;
  }
  return handle;
}

// A 32-bit word of an ArrayBuffer, or nullptr after throwing.
std::atomic<int32_t>* word_argument(const Napi::CallbackInfo& info, size_t index) {
  auto memory = info[index].As<Napi::ArrayBuffer>();
  const auto offset = static_cast<size_t>(info[index + 1].As<Napi::Number>().Int64Value());
  if (offset % sizeof(int32_t) != 0 || memory.ByteLength() < sizeof(int32_t) ||
      offset > memory.ByteLength() - sizeof(int32_t)) {
    throw_range_error(info.Env(), "the word lies outside of the memory");
    return nullptr;
  }
  return reinterpret_cast<std::atomic<int32_t>*>(static_cast<std::byte*>(memory.Data()) + offset);
}

Napi::Value create_aperture(const Napi::CallbackInfo& info) {
  SystemError error;
  auto mapping =
      Mapping::create(static_cast<size_t>(info[0].As<Napi::Number>().Int64Value()), error);
  if (error) return throw_system_error(info.Env(), error);
  return describe(info.Env(), mapping);
}

// The size of the aperture stands at byte 16 of its header: see lib/aperture/header.ts.
uint64_t size_from_header(const void* page) {
  uint64_t size_bytes = 0;
  std::memcpy(&size_bytes, static_cast<const std::byte*>(page) + 16, sizeof size_bytes);
  return size_bytes;
}

Napi::Value open_aperture(const Napi::CallbackInfo& info) {
  SystemError error;
  auto mapping = Mapping::open(info[0].As<Napi::String>().Utf8Value(), size_from_header, error);
  if (error) return throw_system_error(info.Env(), error);
  return describe(info.Env(), mapping);
}

// (handle, wordOffset, intervalMs): the heartbeat, which beats until it is stopped or collected.
Napi::Value start_heartbeat(const Napi::CallbackInfo& info) {
  MappingHandle* mapping = mapping_argument(info, 0);
  if (mapping == nullptr) return info.Env().Undefined();
  const auto offset = static_cast<size_t>(info[1].As<Napi::Number>().Int64Value());
  if (offset % sizeof(int32_t) != 0 || offset > (*mapping)->size_bytes() - sizeof(int32_t)) {
    return throw_range_error(info.Env(), "the heartbeat lies outside of the aperture");
  }
  auto* word = reinterpret_cast<std::atomic<int32_t>*>((*mapping)->data() + offset);
  const std::chrono::milliseconds interval(info[2].As<Napi::Number>().Int64Value());
  using Held = std::unique_ptr<Heartbeat>;
  auto held = std::make_unique<Held>(std::make_unique<Heartbeat>(*mapping, word, interval));
  return Napi::External<Held>::New(info.Env(), held.release(), [](Napi::Env, Held* ended) {
    std::unique_ptr<Held>(ended).reset();
  });
}

Napi::Value stop_heartbeat(const Napi::CallbackInfo& info) {
  info[0].As<Napi::External<std::unique_ptr<Heartbeat>>>().Data()->reset();
  return info.Env().Undefined();
}

Napi::Value close_aperture(const Napi::CallbackInfo& info) {
  info[0].As<Napi::External<MappingHandle>>().Data()->reset();
  return info.Env().Undefined();
}

Napi::Value map_block(const Napi::CallbackInfo& info) {
  MappingHandle* mapping = mapping_argument(info, 0);
  if (mapping == nullptr) return info.Env().Undefined();
  const auto offset = static_cast<size_t>(info[1].As<Napi::Number>().Int64Value());
  const auto length = static_cast<size_t>(info[2].As<Napi::Number>().Int64Value());
  const size_t size_bytes = (*mapping)->size_bytes();
  if (length > size_bytes || offset > size_bytes - length) {
    return throw_range_error(info.Env(), "the block lies outside of the aperture");
  }
  return buffer_over(info.Env(), *mapping, offset, length);
}

Napi::Value detach(const Napi::CallbackInfo& info) {
  info[0].As<Napi::ArrayBuffer>().Detach();
  return info.Env().Undefined();
}

Napi::Value address_of(const Napi::CallbackInfo& info) {
  const auto view = info[0].As<Napi::Uint8Array>();
  return Napi::Number::New(info.Env(),
                           static_cast<double>(reinterpret_cast<uintptr_t>(view.Data())));
}

Napi::Value wait_on_word(const Napi::CallbackInfo& info) {
  const std::atomic<int32_t>* word = word_argument(info, 0);
  if (word == nullptr) return info.Env().Undefined();
  const int32_t expected = info[2].As<Napi::Number>().Int32Value();
  const double timeout_ms = info[3].As<Napi::Number>().DoubleValue();
  const int result = aperture::futex_wait(
      word, expected, timeout_ms < 0 ? -1 : static_cast<int64_t>(timeout_ms * 1e6));
  return Napi::Number::New(info.Env(), result);
}

Napi::Value wake_word(const Napi::CallbackInfo& info) {
  const std::atomic<int32_t>* word = word_argument(info, 0);
  if (word == nullptr) return info.Env().Undefined();
  return Napi::Number::New(info.Env(),
                           aperture::futex_wake(word, info[2].As<Napi::Number>().Int32Value()));
}

Napi::Value read_process(const Napi::CallbackInfo& info) {
  const auto pid = info[0].As<Napi::Number>().Int32Value();
  const auto address = static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value());
  auto view = info[2].As<Napi::Uint8Array>();
  const auto length = static_cast<size_t>(info[3].As<Napi::Number>().Int64Value());
  if (length > view.ByteLength()) {
    return throw_range_error(info.Env(), "the copy is longer than its destination");
  }
  return Napi::Number::New(info.Env(), aperture::read_process(pid, address, view.Data(), length));
}

Napi::Value allow_reader(const Napi::CallbackInfo& info) {
  aperture::allow_reader(info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

Napi::Value yield_processor(const Napi::CallbackInfo& info) {
  ::sched_yield();
  return info.Env().Undefined();
}

Napi::Value sleep_microseconds(const Napi::CallbackInfo& info) {
  ::usleep(info[0].As<Napi::Number>().Uint32Value());
  return info.Env().Undefined();
}

// A doorbell watch for an event loop: calls back on the loop's thread; while armed it keeps the
// loop alive.
class LoopWatch : public Napi::ObjectWrap<LoopWatch> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "LoopWatch",
        {InstanceMethod("arm", &LoopWatch::arm), InstanceMethod("disarm", &LoopWatch::disarm),
         InstanceMethod("close", &LoopWatch::close)});
  }

  // (handle, wordOffset, onRing)
  explicit LoopWatch(const Napi::CallbackInfo& info) : Napi::ObjectWrap<LoopWatch>(info) {
    MappingHandle* mapping = mapping_argument(info, 0);
    if (mapping == nullptr) return;
    const auto offset = static_cast<size_t>(info[1].As<Napi::Number>().Int64Value());
    if (offset % sizeof(int32_t) != 0 || offset > (*mapping)->size_bytes() - sizeof(int32_t)) {
      throw_range_error(info.Env(), "the doorbell lies outside of the aperture");
      return;
    }
    on_ring_ = Napi::ThreadSafeFunction::New(info.Env(), info[2].As<Napi::Function>(),
                                             "viaduct doorbell", /*maxQueueSize=*/0,
                                             /*initialThreadCount=*/1);
    on_ring_.Unref(info.Env());
    auto* word = reinterpret_cast<std::atomic<int32_t>*>((*mapping)->data() + offset);
    // The function may be closing when the environment shuts down; then nobody waits for the ring.
    watch_ = std::make_unique<DoorbellWatch>(*mapping, word,
                                             [this] { (void)on_ring_.NonBlockingCall(); });
    // Runs before the function's own hook, which was added first: the thread ends while it may
    // still call.
    napi_add_env_cleanup_hook(info.Env(), end_before_exit, this);
  }

  ~LoopWatch() override { forget(); }

 private:
  Napi::Value arm(const Napi::CallbackInfo& info) {
    if (!watch_) return throw_range_error(info.Env(), "the watch is closed");
    on_ring_.Ref(info.Env());
    const double longest_sleep_ms = info[1].As<Napi::Number>().DoubleValue();
    watch_->arm(info[0].As<Napi::Number>().Int32Value(),
                static_cast<int64_t>(longest_sleep_ms * 1e6));
    return info.Env().Undefined();
  }

  Napi::Value disarm(const Napi::CallbackInfo& info) {
    if (watch_) on_ring_.Unref(info.Env());
    return info.Env().Undefined();
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    forget();
    return info.Env().Undefined();
  }

  static void end_before_exit(void* self) { static_cast<LoopWatch*>(self)->end(); }

  void forget() {
    if (watch_) napi_remove_env_cleanup_hook(Env(), end_before_exit, this);
    end();
  }

  void end() {
    if (!watch_) return;
    watch_.reset();
    on_ring_.Release();
  }

  Napi::ThreadSafeFunction on_ring_;
  std::unique_ptr<DoorbellWatch> watch_;
};

}  // namespace

void export_aperture(Napi::Env env, Napi::Object exports) {
  exports.Set("createAperture", Napi::Function::New(env, create_aperture));
  exports.Set("openAperture", Napi::Function::New(env, open_aperture));
  exports.Set("closeAperture", Napi::Function::New(env, close_aperture));
  exports.Set("startHeartbeat", Napi::Function::New(env, start_heartbeat));
  exports.Set("stopHeartbeat", Napi::Function::New(env, stop_heartbeat));
  exports.Set("mapBlock", Napi::Function::New(env, map_block));
  exports.Set("detach", Napi::Function::New(env, detach));
  exports.Set("addressOf", Napi::Function::New(env, address_of));
  exports.Set("waitOnWord", Napi::Function::New(env, wait_on_word));
  exports.Set("wakeWord", Napi::Function::New(env, wake_word));
  exports.Set("readProcess", Napi::Function::New(env, read_process));
  exports.Set("allowReader", Napi::Function::New(env, allow_reader));
  exports.Set("yieldProcessor", Napi::Function::New(env, yield_processor));
  exports.Set("sleepMicroseconds", Napi::Function::New(env, sleep_microseconds));
  exports.Set("LoopWatch", LoopWatch::define(env));
}

}  // namespace viaduct::addon
