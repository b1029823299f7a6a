// Processes of two users on one host: neither reaches the other, or opens anything of it.
#include "users.h"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "child.h"
#include "fabric.h"

namespace {

struct Told {
  Name name;
  pid_t pid;
};

// The names of the listening sockets of that user's processes.
std::string listener_of(uid_t user) {
  const std::string prefix = "@viaduct-softhca/" + std::to_string(user) + "/";
  std::string found;
  FILE* table = fopen("/proc/net/unix", "re");
  char line[512];
  while (fgets(line, sizeof line, table)) {
    const char* name = strstr(line, prefix.c_str());
    if (!name || !strstr(line, " 00010000 ")) continue;
    found = name + 1;
    found.erase(found.find_last_not_of('\n') + 1);
  }
  fclose(table);
  return found;
}

socklen_t address_of(const std::string& name, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path + 1, name.data(), name.size());
  return socklen_t(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

// A process of that user with an endpoint that connects to the one it is told of, and writes there.
// Then `also` runs in it.
template <typename Also>
Child writer(uid_t user, Also also) {
  return Child([user, also](int in, int out) {
    become(user);
    Endpoint mine({.timeout = 8, .retry_cnt = 0});
    put(out, Told{mine.name(), getpid()});
    const Told peer = get<Told>(in);
    ASSERT_EQ(mine.connect(peer.name), 0);
    put(out, 'r');
    get<char>(in);
    ibv_send_wr wr = mine.make(1, IBV_WR_RDMA_WRITE, 0, 8);
    wr.wr.rdma = {peer.name.address, peer.name.rkey};
    ASSERT_EQ(mine.post(wr), 0);
    put(out, mine.wait().status);
    also(peer);
    put(out, 'e');
    get<char>(in);
  });
}

// What both writes complete with.
template <typename Also>
void meet(uid_t left, uid_t right, ibv_wc_status expected, Also also) {
  Child a = writer(left, also);
  Child b = writer(right, also);
  put(a.to, get<Told>(b.from));
  put(b.to, get<Told>(a.from));
  for (Child* child : {&a, &b}) get<char>(child->from);
  for (Child* child : {&a, &b}) put(child->to, 'g');
  for (Child* child : {&a, &b}) EXPECT_EQ(get<ibv_wc_status>(child->from), expected);
  for (Child* child : {&a, &b}) get<char>(child->from);
  for (Child* child : {&a, &b}) put(child->to, 'x');
  for (Child* child : {&a, &b}) EXPECT_EQ(child->finish(), 0);
}

}  // namespace

class Users : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can act as two users";
  }
};

TEST_F(Users, processes_of_one_user_who_is_not_root_reach_each_other) {
  meet(one_user, one_user, IBV_WC_SUCCESS, [](const Told&) {});
}

TEST_F(Users, processes_of_two_users_do_not_reach_or_open_each_other) {
  meet(one_user, another_user, IBV_WC_RETRY_EXC_ERR, [](const Told& peer) {
    uint8_t byte;
    iovec mine{&byte, 1}, theirs{reinterpret_cast<void*>(peer.name.address), 1};
    EXPECT_EQ(process_vm_readv(peer.pid, &mine, 1, &theirs, 1, 0), -1);
    EXPECT_EQ(errno, EPERM);
    const int handle = int(syscall(SYS_pidfd_open, peer.pid, 0));
    ASSERT_GE(handle, 0);
    for (int fd = 0; fd < 64; ++fd) EXPECT_EQ(syscall(SYS_pidfd_getfd, handle, fd, 0), -1) << fd;
    close(handle);
    const std::string folder = "/proc/" + std::to_string(peer.pid) + "/fd";
    EXPECT_EQ(opendir(folder.c_str()), nullptr);
    EXPECT_EQ(errno, EACCES);
  });
}

TEST_F(Users, who_connects_to_anothers_socket_gets_nothing) {
  Child owner([](int in, int out) {
    become(one_user);
    Endpoint mine;
    put(out, 'r');
    get<char>(in);
  });
  get<char>(owner.from);
  Child intruder([](int, int) {
    become(another_user);
    const std::string name = listener_of(one_user);
    ASSERT_NE(name, "");
    sockaddr_un address;
    const socklen_t size = address_of(name, &address);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
    char bytes[256], control[256];
    iovec iov{bytes, sizeof bytes};
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    EXPECT_LE(recvmsg(fd, &message, 0), 0);
    EXPECT_EQ(message.msg_controllen, 0u) << "no descriptor came";
    close(fd);
  });
  EXPECT_EQ(intruder.finish(), 0);
  put(owner.to, 'x');
  EXPECT_EQ(owner.finish(), 0);
}

// The names are in the network namespace, where anybody may bind any.
TEST_F(Users, who_takes_the_name_of_anothers_socket_is_not_believed) {
  constexpr uint32_t slot = 5, number = slot << 14 | 3;
  Child impostor([&](int in, int out) {
    become(another_user);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address;
    const std::string name =
        "viaduct-softhca/" + std::to_string(one_user) + "/" + std::to_string(slot);
    const socklen_t size = address_of(name, &address);
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(listen(fd, 8), 0);
    put(out, 'r');
    get<char>(in);
    close(fd);
  });
  get<char>(impostor.from);
  Child victim([&](int, int) {
    become(one_user);
    Endpoint mine({.timeout = 8, .retry_cnt = 0});
    ASSERT_EQ(mine.connect({number, 0, 0}), 0);
    ibv_send_wr wr = mine.make(1, IBV_WR_RDMA_WRITE, 0, 8);
    ASSERT_EQ(mine.post(wr), 0);
    EXPECT_EQ(mine.wait().status, IBV_WC_RETRY_EXC_ERR);
  });
  EXPECT_EQ(victim.finish(), 0);
  put(impostor.to, 'x');
  EXPECT_EQ(impostor.finish(), 0);
}
