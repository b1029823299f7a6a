#include "verbs/provider.h"

#include <dlfcn.h>

#include <map>
#include <mutex>

namespace viaduct::verbs {

namespace {

// Worker threads load providers too.
std::mutex loading;

std::map<std::string, std::shared_ptr<const Provider>>& loaded() {
  static std::map<std::string, std::shared_ptr<const Provider>> providers;
  return providers;
}

}  // namespace

std::shared_ptr<const Provider> Provider::load(const std::string& path, std::string& problem) {
  const std::lock_guard guard(loading);
  auto known = loaded().find(path);
  if (known != loaded().end()) return known->second;

  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    problem = ::dlerror();
    return nullptr;
  }
  auto provider = std::make_shared<Provider>();
  provider->library_ = library;
#define VIADUCT_RESOLVE(symbol) \
  provider->symbol = reinterpret_cast<decltype(provider->symbol)>(::dlsym(library, #symbol));
  VIADUCT_VERBS_REQUIRED(VIADUCT_RESOLVE)
  VIADUCT_VERBS_OPTIONAL(VIADUCT_RESOLVE)
#undef VIADUCT_RESOLVE
#define VIADUCT_DEMAND(symbol)                                                \
  if (provider->symbol == nullptr) {                                          \
    problem = path + " is no provider of verbs: it has no function " #symbol; \
    return nullptr;                                                           \
  }
  VIADUCT_VERBS_REQUIRED(VIADUCT_DEMAND)
#undef VIADUCT_DEMAND
  loaded().emplace(path, provider);
  return provider;
}

void* Provider::extension(const char* name) const { return ::dlsym(library_, name); }

}  // namespace viaduct::verbs
