// viaduct-guard: runs a program that dies with the process that asked for it.
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "guard/options.h"
#include "guard/supervisor.h"

int main(int argc, char** argv) {
  using namespace viaduct::guard;
  const pid_t starter = getppid();
  std::string error;
  const std::optional<Options> options = parse_options(argc, argv, error);
  if (!options) {
    fprintf(stderr, "viaduct-guard: %s\n%s", error.c_str(), usage_text);
    return 125;
  }
  if (options->outlive) return options->supervised() ? supervise(*options) : run_in_place(*options);
  // PROGRAM is killed outright; a supervised one is ended in order, so that signal is caught.
  prctl(PR_SET_PDEATHSIG, options->supervised() ? watched_process_died : SIGKILL);
  if (getppid() != options->parent.value_or(starter)) {
    fprintf(stderr, "viaduct-guard: the process that started it is gone\n");
    return 125;
  }
  return options->supervised() ? supervise(*options) : run_in_place(*options);
}
