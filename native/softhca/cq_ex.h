// The extended polling interface: start, read fields, next, end.
#pragma once

#include <infiniband/verbs.h>

namespace softhca {

void fill_extended_operations(ibv_cq_ex* cq);

}  // namespace softhca
