#include "softhca/problem.h"

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
  return error;
}

const char* last_problem() { return text().c_str(); }

}  // namespace softhca
