// The native side of apertures: mappings, sleeping and waking, the doorbell's thread, copies
// between processes.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "aperture/doorbell.h"
#include "aperture/futex.h"
#include "aperture/heartbeat.h"
#include "aperture/mapping.h"
#include "aperture/process_copy.h"

namespace viaduct::aperture {
namespace {

constexpr size_t mapping_bytes = 65536;

uint64_t no_size(const void*) { return 0; }

std::string door_of(const Mapping& mapping) {
  return "/proc/self/fd/" + std::to_string(mapping.descriptor());
}

std::atomic<int32_t>* word_of(const Mapping& mapping) {
  return reinterpret_cast<std::atomic<int32_t>*>(mapping.data());
}

TEST(Mapping, ShowsTheSameBytesThroughEachDoor) {
  SystemError error;
  const auto mine = Mapping::create(mapping_bytes, error);
  ASSERT_FALSE(error);
  const auto theirs = Mapping::open(door_of(*mine), no_size, error);
  ASSERT_FALSE(error);
  EXPECT_EQ(theirs->size_bytes(), mapping_bytes);
  EXPECT_NE(theirs->data(), mine->data());
  mine->data()[mapping_bytes - 1] = std::byte{42};
  EXPECT_EQ(theirs->data()[mapping_bytes - 1], std::byte{42});
}

TEST(Mapping, CannotBeTruncated) {
  SystemError error;
  const auto mapping = Mapping::create(mapping_bytes, error);
  ASSERT_FALSE(error);
  EXPECT_EQ(ftruncate(mapping->descriptor(), 4096), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(Mapping, SaysWhichCallFailed) {
  SystemError error;
  EXPECT_EQ(Mapping::open("/nonexistent", no_size, error), nullptr);
  EXPECT_STREQ(error.call, "open");
  EXPECT_EQ(error.error, ENOENT);
}

TEST(Mapping, RefusesWhatIsSmallerThanAPage) {
  SystemError error;
  const auto mapping = Mapping::create(100, error);
  ASSERT_FALSE(error);
  EXPECT_EQ(Mapping::open(door_of(*mapping), no_size, error), nullptr);
  EXPECT_EQ(error.error, ENODATA);
}

TEST(Mapping, TakesTheSizeOfADeviceFromItsHeader) {
  SystemError error;
  // A device that can be mapped and has no size of its own.
  const auto mapping = Mapping::open(
      "/dev/zero", [](const void*) -> uint64_t { return mapping_bytes; }, error);
  ASSERT_FALSE(error);
  EXPECT_EQ(mapping->size_bytes(), mapping_bytes);
}

TEST(Futex, DoesNotSleepOnAWordThatHasChanged) {
  std::atomic<int32_t> word{1};
  EXPECT_EQ(futex_wait(&word, 0, -1), EAGAIN);
}

TEST(Futex, EndsASleepAfterItsTime) {
  std::atomic<int32_t> word{0};
  EXPECT_EQ(futex_wait(&word, 0, 1'000'000), ETIMEDOUT);
}

TEST(Futex, WakesASleeperOfAnotherProcess) {
  SystemError error;
  const auto mapping = Mapping::create(mapping_bytes, error);
  ASSERT_FALSE(error);
  std::atomic<int32_t>* word = word_of(*mapping);
  const pid_t child = fork();
  if (child == 0) {
    while (word->load() == 0) futex_wait(word, 0, -1);
    _exit(word->load());
  }
  word->store(7);
  futex_wake(word, 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(Heartbeat, CountsUntilItIsStopped) {
  SystemError error;
  const auto mapping = Mapping::create(mapping_bytes, error);
  ASSERT_TRUE(mapping);
  std::atomic<int32_t>* word = word_of(*mapping);
  {
    const Heartbeat heartbeat(mapping, word, std::chrono::milliseconds(1));
    while (word->load() < 3) std::this_thread::yield();
  }
  const int32_t last = word->load();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(word->load(), last);
}

TEST(Heartbeat, EndsAtOnceHoweverRarelyItBeats) {
  SystemError error;
  const auto mapping = Mapping::create(mapping_bytes, error);
  ASSERT_TRUE(mapping);
  // Would outlast the test's time limit if its end waited for a beat.
  const Heartbeat heartbeat(mapping, word_of(*mapping), std::chrono::hours(1));
}

class DoorbellWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    SystemError error;
    mapping_ = Mapping::create(mapping_bytes, error);
    ASSERT_FALSE(error);
    watch_ = std::make_unique<DoorbellWatch>(mapping_, word_of(*mapping_), [this] {
      rings_.fetch_add(1);
      rings_.notify_all();
    });
  }

  void ring() {
    word_of(*mapping_)->fetch_add(1);
    futex_wake(word_of(*mapping_), 1);
  }

  void arm() { watch_->arm(word_of(*mapping_)->load(), 1'000'000'000); }

  std::shared_ptr<Mapping> mapping_;
  std::unique_ptr<DoorbellWatch> watch_;
  std::atomic<int> rings_{0};
};

TEST_F(DoorbellWatchTest, CallsBackWhenTheDoorbellIsRung) {
  arm();
  ring();
  rings_.wait(0);
  EXPECT_EQ(rings_.load(), 1);
}

TEST_F(DoorbellWatchTest, CallsBackAtOnceWhenItWasRungBefore) {
  const int32_t seen = word_of(*mapping_)->load();
  ring();
  watch_->arm(seen, 1'000'000'000);
  rings_.wait(0);
  EXPECT_EQ(rings_.load(), 1);
}

TEST_F(DoorbellWatchTest, LosesNoRingHoweverArmAndRingMeet) {
  for (int round = 0; round < 1000; ++round) {
    const int32_t seen = word_of(*mapping_)->load();
    std::thread ringer([this] { ring(); });
    watch_->arm(seen, 1'000'000'000);
    rings_.wait(round);
    ringer.join();
    ASSERT_EQ(rings_.load(), round + 1);
  }
}

TEST_F(DoorbellWatchTest, EndsWhileItSleeps) {
  arm();
  watch_.reset();
  EXPECT_EQ(rings_.load(), 0);
}

TEST_F(DoorbellWatchTest, SeesARingThatNobodyWakesItFor) {
  // What a ringer in another kernel does: it moves the word, and cannot wake.
  watch_->arm(word_of(*mapping_)->load(), 5'000'000);
  word_of(*mapping_)->fetch_add(1);
  rings_.wait(0);
  EXPECT_EQ(rings_.load(), 1);
}

// A child process with memory to read; it lives until the test is over.
class ReadProcessTest : public testing::Test {
 protected:
  void SetUp() override {
    memory_.resize(3'000'000);
    for (size_t k = 0; k < memory_.size(); ++k) memory_[k] = static_cast<unsigned char>(k * 7);
    ASSERT_EQ(pipe(pipe_.data()), 0);
    child_ = fork();
    if (child_ == 0) {
      close(pipe_[1]);
      char byte;
      [[maybe_unused]] const ssize_t count = read(pipe_[0], &byte, 1);
      _exit(0);
    }
    close(pipe_[0]);
    // Only here, so that what is read can have come from nowhere but the child.
    address_ = reinterpret_cast<uint64_t>(memory_.data());
    expected_ = memory_;
    std::fill(memory_.begin(), memory_.end(), 0);
  }

  void TearDown() override {
    close(pipe_[1]);
    waitpid(child_, nullptr, 0);
  }

  std::vector<unsigned char> memory_;
  std::vector<unsigned char> expected_;
  std::array<int, 2> pipe_{};
  pid_t child_ = -1;
  uint64_t address_ = 0;
};

TEST_F(ReadProcessTest, CopiesMemoryOfAnotherProcess) {
  std::vector<unsigned char> copy(expected_.size());
  ASSERT_EQ(read_process(child_, address_, copy.data(), copy.size()), 0);
  EXPECT_EQ(copy, expected_);
}

TEST_F(ReadProcessTest, CopiesNothing) { EXPECT_EQ(read_process(child_, address_, nullptr, 0), 0); }

TEST_F(ReadProcessTest, SaysThatMemoryIsNotThere) {
  std::array<char, 16> copy{};
  EXPECT_EQ(read_process(child_, 4096, copy.data(), copy.size()), EFAULT);
}

TEST_F(ReadProcessTest, SaysThatAProcessIsGone) {
  close(pipe_[1]);
  ASSERT_EQ(waitpid(child_, nullptr, 0), child_);
  std::array<char, 16> copy{};
  EXPECT_EQ(read_process(child_, address_, copy.data(), copy.size()), ESRCH);
  ASSERT_EQ(pipe(pipe_.data()), 0);
  close(pipe_[0]);
}

}  // namespace
}  // namespace viaduct::aperture
