// Opens a PCI function as a VMM does, by VFIO's container and group, and says in one line of JSON
// what it found: vfio-open ADDRESS GROUP [hold]. With "hold" it keeps the device until its input
// ends.
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int failed(const char* step) {
  printf("{\"failed\":\"%s\",\"errno\":%d}\n", step, errno);
  return 1;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  char path[64];
  snprintf(path, sizeof path, "/dev/vfio/%s", argv[2]);
  int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
  if (container < 0) return failed("open container");
  if (ioctl(container, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
    return failed("VFIO_GET_API_VERSION");
  int group = open(path, O_RDWR | O_CLOEXEC);
  if (group < 0) return failed("open group");
  struct vfio_group_status status = {.argsz = sizeof status};
  if (ioctl(group, VFIO_GROUP_GET_STATUS, &status) != 0) return failed("VFIO_GROUP_GET_STATUS");
  int viable = (status.flags & VFIO_GROUP_FLAGS_VIABLE) != 0;
  if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) != 0)
    return failed("VFIO_GROUP_SET_CONTAINER");
  if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) != 0) return failed("VFIO_SET_IOMMU");

  // As a VM's memory would be: pinned, and counted against RLIMIT_MEMLOCK.
  size_t size = 4 << 20;
  void* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return failed("mmap");
  struct vfio_iommu_type1_dma_map map = {
      .argsz = sizeof map,
      .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
      .vaddr = (uintptr_t)memory,
      .iova = 0x10000000,
      .size = size,
  };
  if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map) != 0) return failed("VFIO_IOMMU_MAP_DMA");

  int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, argv[1]);
  if (device < 0) return failed("VFIO_GROUP_GET_DEVICE_FD");
  struct vfio_device_info info = {.argsz = sizeof info};
  if (ioctl(device, VFIO_DEVICE_GET_INFO, &info) != 0) return failed("VFIO_DEVICE_GET_INFO");
  struct vfio_region_info config = {.argsz = sizeof config, .index = VFIO_PCI_CONFIG_REGION_INDEX};
  if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) != 0)
    return failed("VFIO_DEVICE_GET_REGION_INFO");
  uint16_t vendor = 0;
  if (pread(device, &vendor, sizeof vendor, (off_t)config.offset) != sizeof vendor)
    return failed("read config space");
  int reset = ioctl(device, VFIO_DEVICE_RESET) == 0;
  printf("{\"viable\":%d,\"vendor\":%u,\"regions\":%u,\"reset\":%d}\n", viable, vendor,
         info.num_regions, reset);
  fflush(stdout);
  char byte = 0;
  if (argc > 3) (void)!read(0, &byte, 1);
  return 0;
}
