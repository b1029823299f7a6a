// What the transport engine did, and why it dropped what it dropped.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace softhca::transport {

#define VIADUCT_TRANSPORT_COUNTERS(X)                                            \
  X(packets_received)                                                            \
  X(packets_sent)                                                                \
  X(packets_sent_again)                                                          \
  X(timeouts)                                                                    \
  X(sequence_naks_received)                                                      \
  X(sequence_naks_sent)                                                          \
  X(rnr_naks_received)                                                           \
  X(rnr_naks_sent)                                                               \
  X(error_naks_received)                                                         \
  X(error_naks_sent)                                                             \
  X(responses_missed)         /* a later one arrived first */                    \
  X(duplicate_requests)       /* answered again, not carried out again */        \
  X(congestion_notifications) /* CNPs: counted, sending is not slowed down */    \
  X(dropped_short)            /* cut off within its headers */                   \
  X(dropped_version)          /* of the transport, not 0 */                      \
  X(dropped_opcode)           /* unknown, or not of the queue pair's service */  \
  X(dropped_icrc)             /* damaged */                                      \
  X(dropped_queue_pair)       /* there is no such one */                         \
  X(dropped_state)            /* it isn't ready */                               \
  X(dropped_pkey)                                                                \
  X(dropped_address) /* not from or not to the connected address */              \
  X(dropped_qkey)                                                                \
  X(dropped_out_of_sequence) /* a request after a gap */                         \
  X(dropped_replay)          /* a duplicate whose answer isn't known any more */ \
  X(dropped_response)        /* answers nothing that is in flight */             \
  X(dropped_no_receive)      /* unreliable, and no receive is posted */          \
  X(dropped_refused)         /* unreliable, and what it asks for isn't possible */

enum class Counter : size_t {
#define VIADUCT_COUNTER(name) name,
  VIADUCT_TRANSPORT_COUNTERS(VIADUCT_COUNTER)
#undef VIADUCT_COUNTER
};

inline constexpr const char* counter_names[] = {
#define VIADUCT_COUNTER(name) #name,
    VIADUCT_TRANSPORT_COUNTERS(VIADUCT_COUNTER)
#undef VIADUCT_COUNTER
};

class Counters {
 public:
  static constexpr size_t count = sizeof counter_names / sizeof *counter_names;

  void add(Counter counter) { ++values_[size_t(counter)]; }
  uint64_t operator[](Counter counter) const { return values_[size_t(counter)]; }

 private:
  std::array<uint64_t, count> values_{};
};

}  // namespace softhca::transport
