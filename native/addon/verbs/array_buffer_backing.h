// The memory of a JavaScript ArrayBuffer, held beyond the ArrayBuffer itself.
#pragma once

#include <napi.h>

#include <cstddef>
#include <memory>

#include "verbs/objects.h"

namespace viaduct::addon {

// Keeps the bytes allocated while it lives, also when JavaScript transfers the ArrayBuffer to
// another thread, detaches it or drops it.
class ArrayBufferBacking final : public verbs::Backing {
 public:
  // `value` is an ArrayBuffer or a SharedArrayBuffer; null if it is neither.
  static std::unique_ptr<ArrayBufferBacking> of(Napi::Value value);
  ~ArrayBufferBacking() override;

  bool attached() const override;
  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }
  std::shared_ptr<void> memory() const { return memory_; }

 private:
  struct Buffer;
  ArrayBufferBacking(std::unique_ptr<Buffer> buffer, std::shared_ptr<void> memory, std::byte* data,
                     size_t size_bytes);

  // Null for a SharedArrayBuffer, which can't be detached.
  const std::unique_ptr<Buffer> buffer_;
  const std::shared_ptr<void> memory_;
  std::byte* const data_;
  const size_t size_bytes_;
};

}  // namespace viaduct::addon
