// The guard's command line.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace viaduct::guard {

struct Options {
  // The process that must be our parent; absent: whoever is when we start.
  std::optional<pid_t> parent;
  std::optional<int> cpu;
  // PROGRAM belongs to nobody: it lives on when the guard's starter ends.
  bool outlive = false;
  bool kill_tree = false;
  // For a PROGRAM that knows other processes by number, as the ranks of a job do.
  bool same_namespace = false;
  bool read_only = false;
  std::vector<std::string> tmpfs;
  std::vector<std::string> scratch;
  std::vector<std::string> remove;
  std::optional<std::string> claim;
  // PROGRAM and its arguments, ended by a null pointer as exec wants it.
  std::vector<char*> command;

  // A process must stay behind to clean up; without it PROGRAM takes the guard's place.
  bool supervised() const;
};

extern const char usage_text[];

// The options, or nothing and a sentence for the user in `error`.
std::optional<Options> parse_options(int argc, char** argv, std::string& error);

}  // namespace viaduct::guard
