// The rings of packets in an aperture, as the operating system has them: their memory, and what
// happens when this process ends.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "softhca/links/aperture.h"
#include "softhca/network_options.h"

namespace softhca {

// Maps them for good: a file, another process's descriptor under /proc, /dev/mmapper in a
// User-Mode Linux guest, or a PCI device's memory in a QEMU guest. Empty: `problem` says why.
std::span<std::byte> map_rings(const NetworkOptions::Rings& rings, std::string* problem);

// Whose place is given back when the process ends by itself; nullptr: nobody's.
void leave_rings_at_exit(links::Aperture* rings);

}  // namespace softhca
