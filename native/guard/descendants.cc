#include "guard/descendants.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

namespace viaduct::guard {
namespace {

// The parent in /proc/PID/stat: the second field after the name, which may hold anything but ends
// at the last parenthesis.
pid_t parent_of(pid_t process) {
  char text[512];
  snprintf(text, sizeof text, "/proc/%d/stat", process);
  FILE* file = fopen(text, "re");
  if (file == nullptr) return -1;
  const size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = '\0';
  const char* after_name = strrchr(text, ')');
  int parent = -1;
  if (after_name == nullptr || sscanf(after_name + 1, " %*c %d", &parent) != 1) return -1;
  return parent;
}

void kill_children() {
  DIR* processes = opendir("/proc");
  if (processes == nullptr) return;
  const pid_t self = getpid();
  while (const dirent* entry = readdir(processes)) {
    const pid_t process = atoi(entry->d_name);
    if (process > 0 && parent_of(process) == self) kill(process, SIGKILL);
  }
  closedir(processes);
}

}  // namespace

void kill_descendants() {
  for (;;) {
    kill_children();
    // A child that has died leaves its own children to us: look again after each.
    if (waitpid(-1, nullptr, 0) < 0 && errno == ECHILD) return;
  }
}

}  // namespace viaduct::guard
