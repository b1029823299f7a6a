// What the QEMU driver needs of the system: descriptors to another process, locks, the counter.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "machine/descriptors.h"
#include "machine/timestamp_counter.h"

namespace {

using namespace viaduct::machine;

TEST(SendWithDescriptor, TextAndAnOpenFileArriveTogether) {
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  const int file = memfd_create("test", MFD_CLOEXEC);
  ASSERT_EQ(write(file, "content", 7), 7);
  const std::string text = "{}\n";
  ASSERT_EQ(send_with_descriptor(sockets[0], text, file), 0);
  close(file);

  char bytes[16] = {};
  iovec data = {.iov_base = bytes, .iov_len = sizeof bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ASSERT_EQ(recvmsg(sockets[1], &message, MSG_CMSG_CLOEXEC), 3);
  EXPECT_EQ(std::string(bytes), text);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  ASSERT_NE(header, nullptr);
  int received = -1;
  memcpy(&received, CMSG_DATA(header), sizeof received);
  EXPECT_EQ(pread(received, bytes, 7, 0), 7);
  EXPECT_EQ(std::string(bytes, 7), "content");
  close(received);
  for (const int end : sockets) close(end);
}

TEST(SendWithDescriptor, ToNobodyIsAnErrno) {
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  close(sockets[1]);
  EXPECT_EQ(send_with_descriptor(sockets[0], std::string("x"), 0), EPIPE);
  close(sockets[0]);
  EXPECT_EQ(send_with_descriptor(-1, std::string("x"), 0), EBADF);
}

TEST(TryLock, TheLockIsHeldUntilItsDescriptorIsClosed) {
  const int file = memfd_create("test", MFD_CLOEXEC);
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  const int first = open(path.c_str(), O_RDWR | O_CLOEXEC);
  const int second = open(path.c_str(), O_RDWR | O_CLOEXEC);
  EXPECT_EQ(try_lock(first), 0);
  EXPECT_EQ(try_lock(second), EWOULDBLOCK);
  close(first);
  EXPECT_EQ(try_lock(second), 0);
  close(second);
  close(file);
}

TEST(TimestampCounter, TwoMeasurementsAgree) {
  const uint32_t first = timestamp_counter_khz();
  const uint32_t second = timestamp_counter_khz();
#if defined(__x86_64__)
  EXPECT_GT(first, 100'000U);
#endif
  EXPECT_NEAR(first, second, first / 100.0);
}

}  // namespace
