// A provider: a shared library that implements the libibverbs ABI, loaded at run time. Objects of
// one provider are only ever handed to functions of the same one.
#pragma once

#include <memory>
#include <string>

#include "verbs/symbols.h"

namespace viaduct::verbs {

class Provider {
 public:
  // Stays loaded until the process ends: libibverbs' own drivers can't be unloaded safely. Null
  // when the file can't be loaded or is no provider; then `problem` says why.
  static std::shared_ptr<const Provider> load(const std::string& path, std::string& problem);

  // Null: the provider doesn't have the function.
  // NOLINTNEXTLINE(bugprone-macro-parentheses): a name that is declared can't stand in parentheses
#define VIADUCT_POINTER(name) decltype(::name)* name = nullptr;
  VIADUCT_VERBS_REQUIRED(VIADUCT_POINTER)
  VIADUCT_VERBS_OPTIONAL(VIADUCT_POINTER)
#undef VIADUCT_POINTER

  // A function outside libibverbs that this library may have; null if not.
  void* extension(const char* name) const;

 private:
  void* library_ = nullptr;
};

}  // namespace viaduct::verbs
