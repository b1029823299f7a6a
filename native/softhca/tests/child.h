// A second process in a test, and the pipes to it.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// A child process made before this one has opened the device, as two programs are.
struct Child {
  pid_t pid;
  int to, from;

  template <typename Body>
  explicit Child(Body body) {
    int down[2], up[2];
    EXPECT_EQ(pipe(down), 0);
    EXPECT_EQ(pipe(up), 0);
    pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(down[1]);
      close(up[0]);
      body(down[0], up[1]);
      _exit(testing::Test::HasFailure() ? 1 : 0);
    }
    close(down[0]);
    close(up[1]);
    to = down[1];
    from = up[0];
  }
  ~Child() {
    close(to);
    close(from);
  }
  int finish() {
    int status;
    waitpid(pid, &status, 0);
    return status;
  }
};

template <typename T>
void put(int fd, const T& value) {
  ASSERT_EQ(write(fd, &value, sizeof value), ssize_t(sizeof value));
}
template <typename T>
T get(int fd) {
  T value{};
  EXPECT_EQ(read(fd, &value, sizeof value), ssize_t(sizeof value));
  return value;
}
