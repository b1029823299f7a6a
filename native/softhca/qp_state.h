// The state machine of queue pairs as a table: which transitions exist, and which attributes each
// needs and allows (InfiniBand Vol. 1, 10.3.1 and 11.2.5.2). Pure.
#pragma once

#include <infiniband/verbs.h>

namespace softhca {

struct Transition {
  bool legal;
  int required;
  int optional;
};

Transition find_transition(ibv_qp_type type, ibv_qp_state from, ibv_qp_state to);

// An end of XRC is one half of an RC queue pair. Programs (perftest) give it the attributes of both
// halves, and Linux passes over those of the half that is not there: this is the rest of `mask`.
int relevant_attributes(ibv_qp_type type, int mask);

// 0, or EINVAL if the transition doesn't exist, lacks an attribute or has one too many.
int check_transition(ibv_qp_type type, ibv_qp_state from, ibv_qp_state to, int mask);

}  // namespace softhca
