// Two users for tests of what is theirs alone.
#pragma once

#include <grp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

constexpr uid_t one_user = 65533, another_user = 65532;

// This process becomes one of that user, as if logged in: with nothing of root's left.
inline void become(uid_t user) {
  ASSERT_EQ(setgroups(0, nullptr), 0);
  ASSERT_EQ(setgid(user), 0);
  ASSERT_EQ(setuid(user), 0);
  // What changed its user can't be looked at by that user either, until it says that it may be.
  ASSERT_EQ(prctl(PR_SET_DUMPABLE, 1), 0);
  ASSERT_EQ(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);  // forgotten with the old user
}
