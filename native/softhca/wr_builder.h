// The ibv_wr_* interface: work requests built by calls, posted together or not at all.
#pragma once

#include <infiniband/verbs.h>

namespace softhca {

struct QueuePair;
struct Builder;

// Whether a queue pair of this type can have these ibv_qp_create_send_ops_flags.
bool builder_offers(ibv_qp_type type, uint64_t send_ops);
void fill_builder(QueuePair& qp, uint64_t send_ops);
void free_builder(Builder* builder);

}  // namespace softhca
