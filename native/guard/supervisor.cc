// The front process is the one that our starter knows: it forwards signals and takes on PROGRAM's
// end. The keeper is PROGRAM's parent and, where permitted, the init of a process namespace. The
// starter's death is signalled to the front, the front's to the keeper, the keeper's to the
// front and to PROGRAM, so that the death of any one ends all and either can remove the
// directories.
#include "guard/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard/descendants.h"
#include "guard/isolation.h"
#include "guard/remove_tree.h"

namespace viaduct::guard {
namespace {

bool is_forwarded(int signal) {
  switch (signal) {
    case SIGHUP:
    case SIGINT:
    case SIGQUIT:
    case SIGTERM:
    case SIGUSR1:
    case SIGUSR2:
    case SIGALRM:
    case SIGCONT:
    case SIGTSTP:
    case SIGWINCH:
      return true;
    default:
      return false;
  }
}

void remove_directory(const std::string& directory) {
  if (remove_tree(directory)) return;
  fprintf(stderr, "viaduct-guard: %s could not be removed completely\n", directory.c_str());
}

void remove_directories(const Options& options) {
  for (const auto* list : {&options.scratch, &options.remove}) {
    for (const std::string& directory : *list) remove_directory(directory);
  }
  if (options.claim) remove_directory(*options.claim);
}

bool make_directory(const std::string& directory) {
  if (mkdir(directory.c_str(), 0700) == 0) return true;
  fprintf(stderr, "viaduct-guard: mkdir %s: %s\n", directory.c_str(), strerror(errno));
  return false;
}

// What was there before is not ours to remove.
bool scratch_is_free(const Options& options) {
  for (const std::string& directory : options.scratch) {
    struct stat status;
    if (lstat(directory.c_str(), &status) != 0) continue;
    fprintf(stderr, "viaduct-guard: --scratch %s: %s\n", directory.c_str(), strerror(EEXIST));
    return false;
  }
  return true;
}

bool make_scratch(const Options& options) {
  for (const std::string& directory : options.scratch) {
    if (!make_directory(directory)) return false;
  }
  return true;
}

// Everything but standard streams and `kept`: the guard must not keep PROGRAM's pipes and sockets
// open after PROGRAM has closed them.
void close_descriptors_but(int kept) {
  if (kept > 3) close_range(3, static_cast<unsigned>(kept - 1), 0);
  close_range(static_cast<unsigned>(kept < 3 ? 3 : kept + 1), ~0U, 0);
}

class Keeper {
 public:
  Keeper(const Options& options, bool is_init, int report, const sigset_t& program_mask)
      : options_(options), is_init_(is_init), report_(report), program_mask_(program_mask) {}

  [[noreturn]] void run() {
    // A signal to the starter's whole process group reaches PROGRAM once, through the front.
    setsid();
    prctl(PR_SET_PDEATHSIG, watched_process_died);
    pollfd reader = {.fd = report_, .events = 0, .revents = 0};
    if (poll(&reader, 1, 0) != 0) _exit(1);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    program_ = fork();
    if (program_ == 0) become_program();
    if (program_ < 0) {
      fprintf(stderr, "viaduct-guard: fork: %s\n", strerror(errno));
      finish(W_EXITCODE(125, 0));
    }
    close_descriptors_but(report_);
    watch();
  }

 private:
  [[noreturn]] void become_program() {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != keeper_) _exit(125);
    close(report_);
    if (!isolate_mounts(options_)) _exit(125);
    if (!make_scratch(options_)) _exit(125);
    sigprocmask(SIG_SETMASK, &program_mask_, nullptr);
    _exit(run_in_place(options_));
  }

  [[noreturn]] void watch() {
    sigset_t all;
    sigfillset(&all);
    for (;;) {
      siginfo_t received;
      const int signal = sigwaitinfo(&all, &received);
      if (signal == watched_process_died) {
        kill_everything();
        remove_directories(options_);
        _exit(0);
      }
      if (signal == SIGCHLD) {
        int status = 0;
        for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
          if (pid == program_) finish(status);
        }
      } else if (is_forwarded(signal)) {
        kill(program_, signal);
      }
    }
  }

  [[noreturn]] void finish(int status) {
    [[maybe_unused]] const ssize_t written = write(report_, &status, sizeof status);
    kill_everything();
    _exit(0);
  }

  void kill_everything() {
    if (!is_init_) return kill_descendants();
    kill(-1, SIGKILL);
    while (waitpid(-1, nullptr, 0) > 0) {
    }
  }

  const Options& options_;
  const bool is_init_;
  const int report_;
  const sigset_t program_mask_;
  const pid_t keeper_ = getpid();
  pid_t program_ = -1;
};

[[noreturn]] void die_of(int signal) {
  const rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  ::signal(signal, SIG_DFL);
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, signal);
  kill(getpid(), signal);
  sigprocmask(SIG_UNBLOCK, &mask, nullptr);
  // Signals that don't kill by default, or that init is protected from.
  _exit(128 + signal);
}

void wait_for_keeper(pid_t keeper) {
  sigset_t all;
  sigfillset(&all);
  for (;;) {
    siginfo_t received;
    const int signal = sigwaitinfo(&all, &received);
    if (signal == watched_process_died) {
      kill(keeper, SIGKILL);
    } else if (signal == SIGCHLD) {
      for (pid_t pid = 0; (pid = waitpid(-1, nullptr, WNOHANG)) > 0;) {
        if (pid == keeper) return;
      }
    } else if (is_forwarded(signal)) {
      kill(keeper, signal);
    }
  }
}

}  // namespace

int run_in_place(const Options& options) {
  if (options.cpu) {
    cpu_set_t processors;
    CPU_ZERO(&processors);
    CPU_SET(*options.cpu, &processors);
    if (*options.cpu >= CPU_SETSIZE || sched_setaffinity(0, sizeof processors, &processors) != 0) {
      fprintf(stderr, "viaduct-guard: --cpu %d: no such processor here\n", *options.cpu);
      return 125;
    }
  }
  execvp(options.command[0], options.command.data());
  const int error = errno;
  fprintf(stderr, "viaduct-guard: %s: %s\n", options.command[0], strerror(error));
  return error == ENOENT ? 127 : 126;
}

int supervise(const Options& options) {
  if (!scratch_is_free(options)) return 125;
  sigset_t all;
  sigset_t program_mask;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &program_mask);
  // An inherited SIG_IGN would have the kernel reap our children unseen.
  signal(SIGCHLD, SIG_DFL);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) {
    fprintf(stderr, "viaduct-guard: pipe: %s\n", strerror(errno));
    return 125;
  }
  // Made by mkdir itself, so that of two guards one gets it; the other removes nothing.
  if (options.claim && !make_directory(*options.claim)) return 125;
  bool is_init = false;
  const pid_t keeper = options.same_namespace ? fork() : fork_isolated(is_init);
  if (keeper < 0) {
    fprintf(stderr, "viaduct-guard: fork: %s\n", strerror(errno));
    if (options.claim) remove_directory(*options.claim);
    return 125;
  }
  if (keeper == 0) {
    close(report[0]);
    Keeper(options, is_init, report[1], program_mask).run();
  }
  close_descriptors_but(report[0]);
  wait_for_keeper(keeper);
  kill_descendants();
  remove_directories(options);
  int status = 0;
  if (read(report[0], &status, sizeof status) != sizeof status) die_of(SIGKILL);
  if (WIFSIGNALED(status)) die_of(WTERMSIG(status));
  return WEXITSTATUS(status);
}

}  // namespace viaduct::guard
