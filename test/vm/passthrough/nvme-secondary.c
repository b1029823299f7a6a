// Gives a virtual function of an NVMe controller what it needs to run, and switches it on:
// "Virtualization Management" of the NVMe Base Specification. nvme-secondary /dev/nvmeN CONTROLLER
#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum { virtualization_management = 0x1c, assign = 8, online = 9, queues = 0, interrupts = 1 };

static int manage(int device, unsigned controller, unsigned resource, unsigned action,
                  unsigned count) {
  struct nvme_admin_cmd command = {
      .opcode = virtualization_management,
      .cdw10 = action | resource << 8 | controller << 16,
      .cdw11 = count,
  };
  int status = ioctl(device, NVME_IOCTL_ADMIN_CMD, &command);
  if (status != 0) fprintf(stderr, "action %u: %s, status %d\n", action, strerror(errno), status);
  return status;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  int device = open(argv[1], O_RDWR | O_CLOEXEC);
  if (device < 0) {
    perror(argv[1]);
    return 1;
  }
  unsigned controller = (unsigned)atoi(argv[2]);
  return manage(device, controller, interrupts, assign, 1) != 0 ||
         manage(device, controller, queues, assign, 2) != 0 ||
         manage(device, controller, 0, online, 0) != 0;
}
