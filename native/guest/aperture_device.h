// The aperture of a QEMU guest: BAR 2 of a PCI device, which no driver of the kernel claims.
#pragma once

namespace viaduct::guest {

// Enables the device's memory, where there is one, so that user space can map
// /sys/bus/pci/devices/…/resource2.
void enable_aperture_device();

}  // namespace viaduct::guest
