// The processor's timestamp counter, which a guest under QEMU's emulation reads as it is here.
#pragma once

#include <cstdint>

namespace viaduct::machine {

// Ticks per millisecond, measured against the clock for some 20 ms; 0 on a processor that has no
// such counter.
uint32_t timestamp_counter_khz();

}  // namespace viaduct::machine
