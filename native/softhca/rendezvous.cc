// How processes of one user find each other: abstract Unix sockets, one a slot, gone with the
// process.
#include "softhca/rendezvous.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace softhca {
namespace {

constexpr int attach_timeout_ms = 2000;
constexpr char name_prefix[] = "viaduct-softhca/";

struct Hello {
  uint64_t magic;
  uint32_t version;
  uint32_t slot;
  uint64_t segment_size;
  uint64_t keys_size;
  uint16_t holder;
};

// A process that can't call heavy_barrier() must not meet one whose locks rely on it. On one kernel
// all can or none, but for one that is kept from that system call.
uint32_t protocol_version() { return layout_version << 1 | (heavy_barrier_works() ? 1 : 0); }

socklen_t slot_address(uint32_t slot, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  int n = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "%s%u/%u", name_prefix,
                   unsigned(geteuid()), slot);
  return socklen_t(offsetof(sockaddr_un, sun_path) + 1 + size_t(n));
}

bool peer_is_ours(int connection, pid_t* pid) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return false;
  if (pid) *pid = credentials.pid;
  if (credentials.uid == geteuid()) return true;
  errno = EPERM;
  return false;
}

void* map_sealed(int fd, uint64_t bytes, int protection) {
  struct stat st;
  int seals = fcntl(fd, F_GET_SEALS);
  if (fstat(fd, &st) != 0 || uint64_t(st.st_size) != bytes || seals < 0 ||
      !(seals & F_SEAL_SHRINK)) {
    errno = EPROTO;
    return nullptr;
  }
  void* base = mmap(nullptr, bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
  return base == MAP_FAILED ? nullptr : base;
}

}  // namespace

bool create_files(SegmentFiles* files) {
  SegmentFiles made;
  made.segment = memfd_create("viaduct-softhca", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  made.keys = memfd_create("viaduct-softhca-keys", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (made.segment >= 0 && made.keys >= 0 && ftruncate(made.segment, off_t(segment_bytes)) == 0 &&
      ftruncate(made.keys, sizeof(KeyTable)) == 0 &&
      fcntl(made.segment, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0 &&
      fcntl(made.keys, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0) {
    *files = made;
    return true;
  }
  int saved = errno;
  if (made.segment >= 0) close(made.segment);
  if (made.keys >= 0) close(made.keys);
  errno = saved;
  return false;
}

uint32_t claim_slot(int* listener) {
  uint32_t start = 0;
  if (getrandom(&start, sizeof start, 0) != sizeof start) return 0;
  constexpr uint32_t count = last_slot - first_slot + 1;
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t slot = first_slot + (start + i) % count;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return 0;
    sockaddr_un address;
    socklen_t size = slot_address(slot, &address);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(fd, 128) == 0) {
      *listener = fd;
      return slot;
    }
    int saved = errno;
    close(fd);
    if (saved != EADDRINUSE) {
      errno = saved;
      return 0;
    }
  }
  errno = EUSERS;
  return 0;
}

bool welcome(int connection, uint16_t holder, uint32_t slot, const SegmentFiles& files,
             int doorbell) {
  if (!peer_is_ours(connection, nullptr)) return false;
  Hello hello{segment_magic, protocol_version(), slot, segment_bytes, sizeof(KeyTable), holder};
  int fds[3] = {files.segment, files.keys, doorbell};
  iovec iov{&hello, sizeof hello};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fds);
  memcpy(CMSG_DATA(header), fds, sizeof fds);
  return sendmsg(connection, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == ssize_t(sizeof hello);
}

std::shared_ptr<Site> attach(uint32_t slot) {
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return nullptr;
  auto site = std::make_shared<Site>();
  site->connection = fd;
  site->slot = slot;
  sockaddr_un address;
  socklen_t size = slot_address(slot, &address);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      !peer_is_ours(fd, &site->pid))
    return nullptr;
  pollfd waiting{fd, POLLIN, 0};
  if (poll(&waiting, 1, attach_timeout_ms) != 1) {
    errno = ETIMEDOUT;
    return nullptr;
  }
  Hello hello{};
  int fds[3] = {-1, -1, -1};
  iovec iov{&hello, sizeof hello};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  cmsghdr* header = n > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof fds)) {
    errno = ECONNREFUSED;
    return nullptr;
  }
  memcpy(fds, CMSG_DATA(header), sizeof fds);
  site->doorbell = fds[2];
  int error = 0;
  if (n != ssize_t(sizeof hello) || hello.magic != segment_magic ||
      hello.version != protocol_version() || hello.slot != slot ||
      hello.segment_size != segment_bytes || hello.keys_size != sizeof(KeyTable) ||
      hello.holder <= owner_holder || !is_eventfd(fds[2])) {
    error = EPROTO;
  } else {
    site->holder = hello.holder;
    site->segment =
        static_cast<Segment*>(map_sealed(fds[0], segment_bytes, PROT_READ | PROT_WRITE));
    site->keys = static_cast<KeyTable*>(map_sealed(fds[1], sizeof(KeyTable), PROT_READ));
    if (!site->segment || !site->keys) error = errno;
  }
  close(fds[0]);
  close(fds[1]);
  errno = error;
  return error ? nullptr : site;
}

std::vector<uint32_t> live_slots() {
  std::vector<uint32_t> slots;
  FILE* table = fopen("/proc/net/unix", "re");
  if (!table) return slots;
  char prefix[64];
  snprintf(prefix, sizeof prefix, "@%s%u/", name_prefix, unsigned(geteuid()));
  char line[512];
  while (fgets(line, sizeof line, table)) {
    // The flag 00010000 is __SO_ACCEPTCON: the listener, not the connections made to it.
    const char* name = strstr(line, prefix);
    if (!name || !strstr(line, " 00010000 ")) continue;
    unsigned long slot = strtoul(name + strlen(prefix), nullptr, 10);
    if (slot >= first_slot && slot <= last_slot) slots.push_back(uint32_t(slot));
  }
  fclose(table);
  return slots;
}

}  // namespace softhca
