// The table of transitions, against the rules it was made from.
#include "softhca/qp_state.h"

#include <gtest/gtest.h>

#include <cerrno>

using namespace softhca;

constexpr ibv_qp_type types[] = {IBV_QPT_RC, IBV_QPT_UC, IBV_QPT_UD, IBV_QPT_XRC_SEND,
                                 IBV_QPT_XRC_RECV};

TEST(QpState, every_state_leads_to_reset_and_error_without_attributes) {
  for (auto type : types)
    for (int from = IBV_QPS_RESET; from <= IBV_QPS_ERR; ++from)
      for (auto to : {IBV_QPS_RESET, IBV_QPS_ERR}) {
        EXPECT_EQ(check_transition(type, ibv_qp_state(from), to, IBV_QP_STATE), 0);
        EXPECT_EQ(check_transition(type, ibv_qp_state(from), to, IBV_QP_STATE | IBV_QP_QKEY),
                  EINVAL);
      }
}

TEST(QpState, a_missing_or_surplus_attribute_is_refused) {
  for (auto type : types)
    for (int from = IBV_QPS_RESET; from <= IBV_QPS_ERR; ++from)
      for (int to = IBV_QPS_INIT; to <= IBV_QPS_SQE; ++to) {
        auto transition = find_transition(type, ibv_qp_state(from), ibv_qp_state(to));
        if (!transition.legal) continue;
        int mask = transition.required | IBV_QP_STATE;
        EXPECT_EQ(check_transition(type, ibv_qp_state(from), ibv_qp_state(to), mask), 0);
        for (int bit = 0; bit <= 20; ++bit) {
          if (transition.required & 1 << bit)
            EXPECT_EQ(
                check_transition(type, ibv_qp_state(from), ibv_qp_state(to), mask & ~(1 << bit)),
                EINVAL);
          else if (!((transition.optional | IBV_QP_STATE) & 1 << bit))
            EXPECT_EQ(check_transition(type, ibv_qp_state(from), ibv_qp_state(to), mask | 1 << bit),
                      EINVAL);
        }
      }
}

TEST(QpState, states_are_not_skipped) {
  for (auto type : types) {
    EXPECT_FALSE(find_transition(type, IBV_QPS_RESET, IBV_QPS_RTR).legal);
    EXPECT_FALSE(find_transition(type, IBV_QPS_RESET, IBV_QPS_RTS).legal);
    EXPECT_FALSE(find_transition(type, IBV_QPS_INIT, IBV_QPS_RTS).legal);
    EXPECT_FALSE(find_transition(type, IBV_QPS_ERR, IBV_QPS_INIT).legal);
  }
  EXPECT_FALSE(find_transition(IBV_QPT_RC, IBV_QPS_SQE, IBV_QPS_RTS).legal);
  EXPECT_TRUE(find_transition(IBV_QPT_UD, IBV_QPS_SQE, IBV_QPS_RTS).legal);
  EXPECT_FALSE(find_transition(IBV_QPT_RAW_PACKET, IBV_QPS_RESET, IBV_QPS_INIT).legal);
}

TEST(QpState, each_end_of_xrc_takes_the_attributes_of_both_halves) {
  int to_rtr = find_transition(IBV_QPT_RC, IBV_QPS_INIT, IBV_QPS_RTR).required | IBV_QP_STATE;
  int to_rts = find_transition(IBV_QPT_RC, IBV_QPS_RTR, IBV_QPS_RTS).required | IBV_QP_STATE;
  for (auto type : {IBV_QPT_XRC_SEND, IBV_QPT_XRC_RECV}) {
    auto check = [&](ibv_qp_state from, ibv_qp_state to, int mask) {
      return check_transition(type, from, to, relevant_attributes(type, mask));
    };
    EXPECT_EQ(check(IBV_QPS_INIT, IBV_QPS_RTR, to_rtr), 0);
    EXPECT_EQ(check(IBV_QPS_RTR, IBV_QPS_RTS, to_rts), 0);
    EXPECT_EQ(check(IBV_QPS_RTR, IBV_QPS_RTS, to_rts | IBV_QP_QKEY), EINVAL);
  }
  EXPECT_EQ(relevant_attributes(IBV_QPT_RC, to_rtr | to_rts), to_rtr | to_rts);
}
