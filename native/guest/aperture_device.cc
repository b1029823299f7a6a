#include "guest/aperture_device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <string>

#include "guest/descriptor.h"

namespace viaduct::guest {
namespace {

constexpr char devices_directory[] = "/sys/bus/pci/devices";
// QEMU's docs/specs/ivshmem-spec.txt: the vendor Red Hat, and the device's number.
constexpr char vendor_and_device[] = "PCI_ID=1AF4:1110\n";

bool is_aperture(const std::string& device) {
  const Descriptor file(open((device + "/uevent").c_str(), O_RDONLY | O_CLOEXEC));
  char text[1024] = {};
  return file.is_open() && read(file.number(), text, sizeof text - 1) > 0 &&
         strstr(text, vendor_and_device) != nullptr;
}

}  // namespace

void enable_aperture_device() {
  DIR* devices = opendir(devices_directory);
  if (devices == nullptr) return;
  while (const dirent* entry = readdir(devices)) {
    const std::string device = std::string(devices_directory) + "/" + entry->d_name;
    if (!is_aperture(device)) continue;
    const Descriptor file(open((device + "/enable").c_str(), O_WRONLY | O_CLOEXEC));
    if (write(file.number(), "1", 1) == 1) continue;
    fprintf(stderr, "viaduct-agent: %s/enable: %s\n", device.c_str(), strerror(errno));
  }
  closedir(devices);
}

}  // namespace viaduct::guest
