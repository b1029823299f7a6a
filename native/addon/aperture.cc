#include "addon/aperture.h"

namespace viaduct::addon {

void export_aperture(Napi::Env, Napi::Object) {}

}  // namespace viaduct::addon
