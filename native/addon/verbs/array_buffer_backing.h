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
  ArrayBufferBacking(napi_env env, napi_ref reference, std::shared_ptr<void> memory,
                     std::byte* data, size_t size_bytes)
      : env_(env),
        reference_(reference),
        memory_(std::move(memory)),
        data_(data),
        size_bytes_(size_bytes) {}

  const napi_env env_;
  // Null for a SharedArrayBuffer, which can't be detached.
  const napi_ref reference_;
  const std::shared_ptr<void> memory_;
  std::byte* const data_;
  const size_t size_bytes_;
};

}  // namespace viaduct::addon
