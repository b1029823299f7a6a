#include "addon/verbs/cached_memory.h"

#include <algorithm>
#include <utility>

namespace viaduct::addon {

namespace {

std::shared_ptr<v8::BackingStore> store_of(const BufferPart& part) {
  return part.shared ? part.buffer.As<v8::SharedArrayBuffer>()->GetBackingStore()
                     : part.buffer.As<v8::ArrayBuffer>()->GetBackingStore();
}

}  // namespace

BufferPart BufferPart::of(v8::Local<v8::Value> value) {
  BufferPart part;
  v8::Local<v8::Value> buffer = value;
  const bool is_view = value->IsArrayBufferView();
  if (is_view) {
    const auto view = value.As<v8::ArrayBufferView>();
    buffer = view->Buffer();
    part.offset = view->ByteOffset();
    part.length = view->ByteLength();
  }
  if (buffer->IsArrayBuffer()) {
    part.data = reinterpret_cast<uintptr_t>(buffer.As<v8::ArrayBuffer>()->Data());
  } else if (buffer->IsSharedArrayBuffer()) {
    part.shared = true;
    part.data = reinterpret_cast<uintptr_t>(buffer.As<v8::SharedArrayBuffer>()->Data());
  } else {
    return part;
  }
  part.buffer = buffer.As<v8::Object>();
  if (!is_view) part.length = part.buffer_bytes();
  if (part.length == 0) part.data = 0;
  return part;
}

size_t BufferPart::buffer_bytes() const {
  return shared ? buffer.As<v8::SharedArrayBuffer>()->ByteLength()
                : buffer.As<v8::ArrayBuffer>()->ByteLength();
}

CachedMemory::CachedMemory(const BufferPart& part, std::shared_ptr<uint32_t> collected)
    : isolate_(v8::Isolate::GetCurrent()),
      shared_(part.shared),
      store_(store_of(part)),
      size_bytes_(part.buffer_bytes()),
      collected_(std::move(collected)) {
  watch(part.buffer);
}

regcache::Range CachedMemory::bytes() const {
  const auto begin = reinterpret_cast<uintptr_t>(store_->Data());
  return {begin, begin + size_bytes_};
}

bool CachedMemory::gone() const {
  const v8::HandleScope scope(isolate_);
  return std::none_of(watches_.begin(), watches_.end(), [&](const auto& each) {
    if (each->object.IsEmpty()) return false;
    return shared_ || !each->object.Get(isolate_).template As<v8::ArrayBuffer>()->WasDetached();
  });
}

// A SharedArrayBuffer can't be detached, so its bytes are all that has to stay.
void CachedMemory::hold() {
  if (!shared_) watches_.front()->object.ClearWeak();
}

void CachedMemory::let_go() {
  if (!shared_) make_weak(*watches_.front());
}

bool CachedMemory::is(const BufferPart& part) {
  if (!knows(part)) return false;
  if (shared_) size_bytes_ = std::max(size_bytes_, part.buffer_bytes());
  return true;
}

bool CachedMemory::knows(const BufferPart& part) {
  for (const auto& each : watches_) {
    if (each->object == part.buffer) return true;
  }
  if (!shared_ || !part.shared || store_of(part) != store_) return false;
  std::erase_if(watches_, [](const auto& each) { return each->object.IsEmpty(); });
  watch(part.buffer);
  return true;
}

void CachedMemory::watch(v8::Local<v8::Object> object) {
  watches_.push_back(std::make_unique<Watch>(Watch{{isolate_, object}, collected_.get()}));
  make_weak(*watches_.back());
}

void CachedMemory::make_weak(Watch& watch) {
  watch.object.SetWeak(
      &watch,
      [](const v8::WeakCallbackInfo<Watch>& info) {
        Watch& watch = *info.GetParameter();
        // All that V8 allows here.
        watch.object.Reset();
        ++*watch.collected;
      },
      v8::WeakCallbackType::kParameter);
}

}  // namespace viaduct::addon
