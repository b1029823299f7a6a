// A JavaScript ArrayBuffer as the registration cache knows it: the bytes stay allocated, and the
// ArrayBuffer itself can be collected while no part of it is in use.
#pragma once

#include <v8.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "regcache/memory.h"

namespace viaduct::addon {

// Null data: an empty or detached ArrayBuffer, or a value that is no memory.
struct BufferPart {
  v8::Local<v8::Object> buffer;  // an ArrayBuffer or a SharedArrayBuffer
  bool shared = false;
  uintptr_t data = 0;
  size_t offset = 0;
  size_t length = 0;

  // Of a view, or of all of a buffer.
  static BufferPart of(v8::Local<v8::Value> value);
  size_t buffer_bytes() const;
  regcache::Range range() const { return {data + offset, data + offset + length}; }
};

class CachedMemory final : public regcache::Memory {
 public:
  // `collected` counts the ArrayBuffers that were.
  CachedMemory(const BufferPart& part, std::shared_ptr<uint32_t> collected);

  regcache::Range bytes() const override;
  bool gone() const override;
  void hold() override;
  void let_go() override;

  bool shared() const { return shared_; }
  bool attached() const { return shared_ || !gone(); }
  // Whether it is this ArrayBuffer's. A SharedArrayBuffer that has the same bytes is remembered.
  bool is(const BufferPart& part);

 private:
  // V8 resets `object` and counts when it is collected.
  struct Watch {
    v8::Global<v8::Object> object;
    uint32_t* collected;
  };

  bool knows(const BufferPart& part);
  void watch(v8::Local<v8::Object> object);
  static void make_weak(Watch& watch);

  v8::Isolate* const isolate_;
  const bool shared_;
  const std::shared_ptr<v8::BackingStore> store_;
  // Of the largest ArrayBuffer seen: growing shared memory of WebAssembly has one for each size.
  size_t size_bytes_;
  const std::shared_ptr<uint32_t> collected_;
  // One, but for a SharedArrayBuffer, of which a thread may have several objects.
  std::vector<std::unique_ptr<Watch>> watches_;
};

}  // namespace viaduct::addon
