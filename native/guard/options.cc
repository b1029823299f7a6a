#include "guard/options.h"

#include <charconv>
#include <string_view>

namespace viaduct::guard {

const char usage_text[] =
    "usage: viaduct-guard [--parent PID | --outlive] [--cpu N] [--kill-tree] [--same-namespace] "
    "[--read-only]\n"
    "                     [--tmpfs DIR]... [--scratch DIR]... [--remove DIR]...\n"
    "                     [--claim DIR]\n"
    "                     -- PROGRAM [ARGUMENT]...\n"
    "Runs PROGRAM so that it dies with the process that started the guard.\n"
    "  --parent PID   end at once if PID is not the process that started the guard\n"
    "  --outlive      PROGRAM lives on when the process that started the guard ends\n"
    "  --cpu N        run on processor N only\n"
    "  --kill-tree    all that PROGRAM starts dies with PROGRAM, the guard or its starter\n"
    "These imply --kill-tree:\n"
    "  --same-namespace\n"
    "                 PROGRAM stays in the guard's process namespace\n"
    "  --read-only    PROGRAM can't write to any mounted file system, where permitted\n"
    "  --tmpfs DIR    PROGRAM sees a private tmpfs on DIR, where permitted\n"
    "  --scratch DIR  make DIR first, remove it with all in it at the end\n"
    "  --remove DIR   remove DIR with all in it at the end\n"
    "  --claim DIR    make DIR before anything else, of which only one guard is capable, and "
    "remove\n"
    "                 it with all in it at the end\n"
    "A supervised PROGRAM and its tree are killed at once when the guard gets signal 40.\n";

bool Options::supervised() const {
  return kill_tree || read_only || !tmpfs.empty() || !scratch.empty() || !remove.empty() ||
         claim.has_value();
}

namespace {

std::optional<int> parse_number(std::string_view text) {
  int value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

}  // namespace

std::optional<Options> parse_options(int argc, char** argv, std::string& error) {
  Options options;
  int at = 1;
  for (; at < argc; ++at) {
    const std::string_view option = argv[at];
    if (option == "--") break;
    if (option == "--kill-tree") {
      options.kill_tree = true;
      continue;
    }
    if (option == "--outlive") {
      options.outlive = true;
      continue;
    }
    if (option == "--same-namespace") {
      options.kill_tree = true;
      options.same_namespace = true;
      continue;
    }
    if (option == "--read-only") {
      options.read_only = true;
      continue;
    }
    const bool number = option == "--parent" || option == "--cpu";
    const bool directory =
        option == "--tmpfs" || option == "--scratch" || option == "--remove" || option == "--claim";
    if (!number && !directory) {
      error = "unknown option " + std::string(option);
      return std::nullopt;
    }
    if (at + 1 >= argc) {
      error = std::string(option) + " needs a value";
      return std::nullopt;
    }
    const char* value = argv[++at];
    if (number) {
      const std::optional<int> parsed = parse_number(value);
      if (!parsed) {
        error = std::string(option) + " needs a number, not " + value;
        return std::nullopt;
      }
      (option == "--cpu" ? options.cpu : options.parent) = parsed;
      continue;
    }
    // A relative path would be looked up again after the working directory has changed.
    if (value[0] != '/') {
      error = std::string(option) + " needs an absolute path, not " + value;
      return std::nullopt;
    }
    if (option == "--claim") {
      options.claim = value;
      continue;
    }
    (option == "--tmpfs"     ? options.tmpfs
     : option == "--scratch" ? options.scratch
                             : options.remove)
        .emplace_back(value);
  }
  if (at + 1 >= argc) {
    error = "no program after --";
    return std::nullopt;
  }
  for (++at; at < argc; ++at) options.command.push_back(argv[at]);
  options.command.push_back(nullptr);
  return options;
}

}  // namespace viaduct::guard
