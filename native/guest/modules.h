// Kernel modules that were put into the initramfs.
#pragma once

namespace viaduct::guest {

// Loads each file of the directory in the order of the names. Failures are written to the console:
// what needs the module says more.
void load_modules(const char* directory);

}  // namespace viaduct::guest
