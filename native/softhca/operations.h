// Fills the tables of operations that <infiniband/verbs.h> calls through.
#pragma once

#include <infiniband/verbs.h>

namespace softhca {

void fill_operations(verbs_context* verbs);

}  // namespace softhca
