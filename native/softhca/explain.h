// Says by which path the data of a queue pair travels, and why.
#pragma once

#include "softhca/extensions.h"

namespace softhca {

int explain_qp(ibv_qp* qp, viaduct_qp_path* path);

}  // namespace softhca
