// The words and numbers of the verbs API's enumerations.
#include "softhca/names.h"

#include <cstddef>

namespace softhca {
namespace {

constexpr RateRow rates[] = {
    {IBV_RATE_2_5_GBPS, 1, 2500},       {IBV_RATE_5_GBPS, 2, 5000},
    {IBV_RATE_10_GBPS, 4, 10000},       {IBV_RATE_14_GBPS, 6, 14062},
    {IBV_RATE_20_GBPS, 8, 20000},       {IBV_RATE_25_GBPS, 10, 25781},
    {IBV_RATE_28_GBPS, 11, 28125},      {IBV_RATE_30_GBPS, 12, 30000},
    {IBV_RATE_40_GBPS, 16, 40000},      {IBV_RATE_50_GBPS, 20, 53125},
    {IBV_RATE_56_GBPS, 22, 56250},      {IBV_RATE_60_GBPS, 24, 60000},
    {IBV_RATE_80_GBPS, 32, 80000},      {IBV_RATE_100_GBPS, 40, 103125},
    {IBV_RATE_112_GBPS, 45, 112500},    {IBV_RATE_120_GBPS, 48, 120000},
    {IBV_RATE_168_GBPS, 67, 168750},    {IBV_RATE_200_GBPS, 80, 206250},
    {IBV_RATE_300_GBPS, 120, 309375},   {IBV_RATE_400_GBPS, 160, 425000},
    {IBV_RATE_600_GBPS, 240, 637500},   {IBV_RATE_800_GBPS, 320, 850000},
    {IBV_RATE_1200_GBPS, 480, 1275000},
};

template <typename Match>
const RateRow* find(Match match) {
  for (const RateRow& row : rates)
    if (match(row)) return &row;
  return nullptr;
}

template <size_t N>
const char* name_at(const char* const (&names)[N], int index, const char* unknown) {
  return index >= 0 && size_t(index) < N && names[index] ? names[index] : unknown;
}

}  // namespace

const RateRow* find_rate(ibv_rate rate) {
  return find([=](const RateRow& row) { return row.rate == rate; });
}
const RateRow* find_rate_by_multiple(int multiple) {
  return find([=](const RateRow& row) { return row.multiple == multiple; });
}
const RateRow* find_rate_by_mbps(int mbps) {
  return find([=](const RateRow& row) { return row.mbps == mbps; });
}

const char* node_type_name(ibv_node_type type) {
  static const char* const names[] = {nullptr,
                                      "InfiniBand channel adapter",
                                      "InfiniBand switch",
                                      "InfiniBand router",
                                      "iWARP NIC",
                                      "usNIC",
                                      "usNIC UDP",
                                      "unspecified"};
  return name_at(names, type, "unknown");
}

const char* port_state_name(ibv_port_state state) {
  static const char* const names[] = {"no state change (NOP)", "down", "init", "armed", "active",
                                      "active defer"};
  return name_at(names, state, "unknown");
}

const char* event_name(ibv_event_type event) {
  static const char* const names[] = {"CQ error",
                                      "local work queue catastrophic error",
                                      "invalid request local work queue error",
                                      "local access violation work queue error",
                                      "communication established",
                                      "send queue drained",
                                      "path migrated",
                                      "path migration request error",
                                      "local catastrophic error",
                                      "port active",
                                      "port error",
                                      "LID change",
                                      "P_Key change",
                                      "SM change",
                                      "SRQ catastrophic error",
                                      "SRQ limit reached",
                                      "last WQE reached",
                                      "client reregistration",
                                      "GID table change",
                                      "WQ fatal"};
  return name_at(names, event, "unknown");
}

const char* status_name(ibv_wc_status status) {
  static const char* const names[] = {"success",
                                      "local length error",
                                      "local QP operation error",
                                      "local EE context operation error",
                                      "local protection error",
                                      "Work Request Flushed Error",
                                      "memory management operation error",
                                      "bad response error",
                                      "local access error",
                                      "remote invalid request error",
                                      "remote access error",
                                      "remote operation error",
                                      "transport retry counter exceeded",
                                      "RNR retry counter exceeded",
                                      "local RDD violation error",
                                      "remote invalid RD request",
                                      "aborted error",
                                      "invalid EE context number",
                                      "invalid EE context state",
                                      "fatal error",
                                      "response timeout error",
                                      "general error",
                                      "TM error",
                                      "TM software rendezvous"};
  return name_at(names, status, "unknown");
}

}  // namespace softhca
