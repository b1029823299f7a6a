// Why a verb failed, in a sentence, where its errno value can't say it: viaduct_problem() of
// extensions.h.
#pragma once

#include <string>

namespace softhca {

// Of the thread that calls; what it failed at before is forgotten.
void forget_problem();
// Returns `error`, for the verb to return. Prints the text if VIADUCT_EXPLAIN is set.
int note_problem(int error, std::string text);
// Empty: nothing was noted since the last forget_problem().
const char* last_problem();

}  // namespace softhca
