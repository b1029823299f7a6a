// The state machine of queue pairs as a table: which transitions exist, and which attributes each
// needs and allows (InfiniBand Vol. 1, 10.3.1 and 11.2.5.2). Pure.
#include "softhca/qp_state.h"

#include <cerrno>

namespace softhca {
namespace {

// Types that share rows.
enum Kind : unsigned {
  rc = 1,
  uc = 2,
  ud = 4,
  ini = 8,   // XRC_SEND
  tgt = 16,  // XRC_RECV
  connected = rc | uc | ini | tgt,
  all = connected | ud,
};

struct Row {
  unsigned kinds;
  ibv_qp_state from, to;
  int required, optional;
};

constexpr int path = IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN;
constexpr int responder = IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
constexpr int retry = IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY;
constexpr int alternate = IBV_QP_ALT_PATH | IBV_QP_PATH_MIG_STATE;
constexpr int access_flags = IBV_QP_ACCESS_FLAGS;

constexpr Row rows[] = {
    {connected, IBV_QPS_RESET, IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | access_flags, 0},
    {ud, IBV_QPS_RESET, IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY, 0},

    {connected, IBV_QPS_INIT, IBV_QPS_INIT, 0, IBV_QP_PKEY_INDEX | IBV_QP_PORT | access_flags},
    {ud, IBV_QPS_INIT, IBV_QPS_INIT, 0, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY},

    {rc | tgt, IBV_QPS_INIT, IBV_QPS_RTR, path | responder,
     IBV_QP_ALT_PATH | access_flags | IBV_QP_PKEY_INDEX},
    {uc | ini, IBV_QPS_INIT, IBV_QPS_RTR, path, IBV_QP_ALT_PATH | access_flags | IBV_QP_PKEY_INDEX},
    {ud, IBV_QPS_INIT, IBV_QPS_RTR, 0, IBV_QP_PKEY_INDEX | IBV_QP_QKEY},

    {rc | ini, IBV_QPS_RTR, IBV_QPS_RTS, retry | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
     IBV_QP_CUR_STATE | access_flags | IBV_QP_MIN_RNR_TIMER | alternate},
    {tgt, IBV_QPS_RTR, IBV_QPS_RTS, IBV_QP_TIMEOUT | IBV_QP_SQ_PSN,
     IBV_QP_CUR_STATE | access_flags | IBV_QP_MIN_RNR_TIMER | alternate},
    {uc, IBV_QPS_RTR, IBV_QPS_RTS, IBV_QP_SQ_PSN, IBV_QP_CUR_STATE | access_flags | alternate},
    {ud, IBV_QPS_RTR, IBV_QPS_RTS, IBV_QP_SQ_PSN, IBV_QP_CUR_STATE | IBV_QP_QKEY},

    {rc | tgt, IBV_QPS_RTS, IBV_QPS_RTS, 0,
     IBV_QP_CUR_STATE | access_flags | IBV_QP_MIN_RNR_TIMER | alternate},
    {uc | ini, IBV_QPS_RTS, IBV_QPS_RTS, 0, IBV_QP_CUR_STATE | access_flags | alternate},
    {ud, IBV_QPS_RTS, IBV_QPS_RTS, 0, IBV_QP_CUR_STATE | IBV_QP_QKEY},

    {all, IBV_QPS_RTS, IBV_QPS_SQD, 0, IBV_QP_EN_SQD_ASYNC_NOTIFY},

    {rc | tgt, IBV_QPS_SQD, IBV_QPS_RTS, 0,
     IBV_QP_CUR_STATE | access_flags | IBV_QP_MIN_RNR_TIMER | alternate},
    {uc | ini, IBV_QPS_SQD, IBV_QPS_RTS, 0, IBV_QP_CUR_STATE | access_flags | alternate},
    {ud, IBV_QPS_SQD, IBV_QPS_RTS, 0, IBV_QP_CUR_STATE | IBV_QP_QKEY},

    {rc, IBV_QPS_SQD, IBV_QPS_SQD, 0,
     IBV_QP_PORT | IBV_QP_AV | retry | IBV_QP_MAX_QP_RD_ATOMIC | responder | access_flags |
         IBV_QP_PKEY_INDEX | alternate},
    {ini, IBV_QPS_SQD, IBV_QPS_SQD, 0,
     IBV_QP_PORT | IBV_QP_AV | retry | IBV_QP_MAX_QP_RD_ATOMIC | access_flags | IBV_QP_PKEY_INDEX |
         alternate},
    {tgt, IBV_QPS_SQD, IBV_QPS_SQD, 0,
     IBV_QP_PORT | IBV_QP_AV | IBV_QP_TIMEOUT | responder | access_flags | IBV_QP_PKEY_INDEX |
         alternate},
    {uc, IBV_QPS_SQD, IBV_QPS_SQD, 0, IBV_QP_AV | access_flags | IBV_QP_PKEY_INDEX | alternate},
    {ud, IBV_QPS_SQD, IBV_QPS_SQD, 0, IBV_QP_PKEY_INDEX | IBV_QP_QKEY},

    // Only unreliable types stop at SQE; reliable ones go to the error state (10.3.1.7).
    {uc, IBV_QPS_SQE, IBV_QPS_RTS, 0, IBV_QP_CUR_STATE | access_flags},
    {ud, IBV_QPS_SQE, IBV_QPS_RTS, 0, IBV_QP_CUR_STATE | IBV_QP_QKEY},
};

unsigned kind_of(ibv_qp_type type) {
  switch (type) {
    case IBV_QPT_RC:
      return rc;
    case IBV_QPT_UC:
      return uc;
    case IBV_QPT_UD:
      return ud;
    case IBV_QPT_XRC_SEND:
      return ini;
    case IBV_QPT_XRC_RECV:
      return tgt;
    default:
      return 0;
  }
}

}  // namespace

Transition find_transition(ibv_qp_type type, ibv_qp_state from, ibv_qp_state to) {
  unsigned kind = kind_of(type);
  if (kind == 0 || from > IBV_QPS_ERR || to > IBV_QPS_ERR) return {false, 0, 0};
  if (to == IBV_QPS_RESET || to == IBV_QPS_ERR) return {true, 0, 0};
  for (const Row& row : rows)
    if ((row.kinds & kind) && row.from == from && row.to == to)
      return {true, row.required, row.optional};
  return {false, 0, 0};
}

int relevant_attributes(ibv_qp_type type, int mask) {
  if (type == IBV_QPT_XRC_SEND) return mask & ~responder;
  if (type == IBV_QPT_XRC_RECV)
    return mask & ~(IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY);
  return mask;
}

int check_transition(ibv_qp_type type, ibv_qp_state from, ibv_qp_state to, int mask) {
  Transition transition = find_transition(type, from, to);
  if (!transition.legal) return EINVAL;
  if ((mask & transition.required) != transition.required) return EINVAL;
  int allowed = transition.required | transition.optional | IBV_QP_STATE;
  return mask & ~allowed ? EINVAL : 0;
}

}  // namespace softhca
