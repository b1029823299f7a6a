// The words and numbers of the verbs API's enumerations.
#pragma once

#include <infiniband/verbs.h>

namespace softhca {

const char* node_type_name(ibv_node_type type);
const char* port_state_name(ibv_port_state state);
const char* event_name(ibv_event_type event);
const char* status_name(ibv_wc_status status);

struct RateRow {
  ibv_rate rate;
  int multiple;  // of 2.5 Gbit/s
  int mbps;
};
// By any of the three; nullptr if there is none.
const RateRow* find_rate(ibv_rate rate);
const RateRow* find_rate_by_multiple(int multiple);
const RateRow* find_rate_by_mbps(int mbps);

}  // namespace softhca
