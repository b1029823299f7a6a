#include "addon/verbs/array_buffer_backing.h"

#include <utility>

#include "addon/v8_function.h"

namespace viaduct::addon {

// Node-API has no way to hold memory apart from its ArrayBuffer, and a transfer would free it under
// the adapter; V8's BackingStore is the public class for just this.
struct ArrayBufferBacking::Buffer {
  explicit Buffer(v8::Local<v8::ArrayBuffer> buffer)
      : isolate(v8::Isolate::GetCurrent()), object(isolate, buffer) {}
  v8::Isolate* const isolate;
  const v8::Global<v8::ArrayBuffer> object;
};

std::unique_ptr<ArrayBufferBacking> ArrayBufferBacking::of(Napi::Value value) {
  const v8::Local<v8::Value> local = local_from(value);
  std::shared_ptr<v8::BackingStore> store;
  std::unique_ptr<Buffer> buffer;
  if (local->IsSharedArrayBuffer()) {
    store = local.As<v8::SharedArrayBuffer>()->GetBackingStore();
  } else if (local->IsArrayBuffer()) {
    store = local.As<v8::ArrayBuffer>()->GetBackingStore();
    buffer = std::make_unique<Buffer>(local.As<v8::ArrayBuffer>());
  } else {
    return nullptr;
  }
  auto* data = static_cast<std::byte*>(store->Data());
  const size_t size_bytes = store->ByteLength();
  return std::unique_ptr<ArrayBufferBacking>(
      new ArrayBufferBacking(std::move(buffer), std::move(store), data, size_bytes));
}

ArrayBufferBacking::ArrayBufferBacking(std::unique_ptr<Buffer> buffer, std::shared_ptr<void> memory,
                                       std::byte* data, size_t size_bytes)
    : buffer_(std::move(buffer)),
      memory_(std::move(memory)),
      data_(data),
      size_bytes_(size_bytes) {}

ArrayBufferBacking::~ArrayBufferBacking() = default;

bool ArrayBufferBacking::attached() const {
  if (buffer_ == nullptr) return true;
  const v8::HandleScope scope(buffer_->isolate);
  return !buffer_->object.Get(buffer_->isolate)->WasDetached();
}

}  // namespace viaduct::addon
