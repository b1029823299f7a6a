#include "softhca/problem.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace softhca {
namespace {

std::string& text() {
  thread_local std::string problem;
  return problem;
}

}  // namespace

void forget_problem() { text().clear(); }

int note_problem(int error, std::string why) {
  text() = std::move(why);
  // Programs of viaduct exec don't ask.
  static const bool prints = getenv("VIADUCT_EXPLAIN") != nullptr;
  if (prints) fprintf(stderr, "viaduct: %s\n", text().c_str());
  return error;
}

const char* last_problem() { return text().c_str(); }

}  // namespace softhca
