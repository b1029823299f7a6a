#include "guest/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

namespace viaduct::guest {
namespace {

struct Pipe {
  Descriptor read;
  Descriptor write;

  bool open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    read = Descriptor(ends[0]);
    write = Descriptor(ends[1]);
    return true;
  }
};

// What the child sends up if it can't become the command.
struct ChildFailure {
  int error;
  char step[28];
};

[[noreturn]] void fail(int report, const char* step) {
  ChildFailure failure = {errno, {}};
  strncpy(failure.step, step, sizeof failure.step - 1);
  [[maybe_unused]] const ssize_t written = write(report, &failure, sizeof failure);
  _exit(127);
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

void reset_signals() {
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// The agent is exempt from the out-of-memory killer, commands are not.
void become_killable() {
  const int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  [[maybe_unused]] const ssize_t written = write(file, "0", 1);
  close(file);
}

[[noreturn]] void become_command(const ExecRequest& request, const Pipe& input, const Pipe& output,
                                 const Pipe& error, int report) {
  setsid();
  become_killable();
  if (dup2(input.read.number(), 0) < 0 || dup2(output.write.number(), 1) < 0 ||
      dup2(error.write.number(), 2) < 0) {
    fail(report, "dup2");
  }
  if (chroot(request.root.c_str()) != 0) fail(report, "chroot");
  if (chdir(request.cwd.c_str()) != 0) fail(report, "chdir");
  umask(022);
  reset_signals();
  std::vector<char*> arguments = pointers(request.arguments);
  std::vector<char*> environment = pointers(request.environment);
  // execvp looks PATH up in the environment of the caller.
  environ = environment.data();
  execvp(arguments[0], arguments.data());
  fail(report, "exec");
}

}  // namespace

std::optional<Process> start_process(const ExecRequest& request, StartFailure& failure) {
  Pipe input;
  Pipe output;
  Pipe error;
  Pipe report;
  if (!input.open() || !output.open() || !error.open() || !report.open()) {
    failure = {"pipe", errno};
    return std::nullopt;
  }
  Process process;
  process.pid = fork();
  if (process.pid < 0) {
    failure = {"fork", errno};
    return std::nullopt;
  }
  if (process.pid == 0) become_command(request, input, output, error, report.write.number());
  report.write.reset();
  // Ends without a byte when exec closes the other end.
  ChildFailure child_failure;
  ssize_t count = 0;
  do {
    count = read(report.read.number(), &child_failure, sizeof child_failure);
  } while (count < 0 && errno == EINTR);
  if (count == sizeof child_failure) {
    waitpid(process.pid, nullptr, 0);
    failure = {child_failure.step, child_failure.error};
    return std::nullopt;
  }
  process.input = std::move(input.write);
  process.output.pipe = std::move(output.read);
  process.error.pipe = std::move(error.read);
  for (const Descriptor* end : {&process.input, &process.output.pipe, &process.error.pipe}) {
    fcntl(end->number(), F_SETFL, O_NONBLOCK);
  }
  return process;
}

}  // namespace viaduct::guest
