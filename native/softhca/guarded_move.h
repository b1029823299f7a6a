// One move that may touch memory that isn't there, and where to go on then: an entry in a table
// that the handler of faults reads (fault_guard.h). It costs nothing.
#pragma once

#if defined(__x86_64__)

#define SOFTHCA_SCRATCH "rax"
#define SOFTHCA_MOVE_1 "1: movb (%1), %%al\n2: movb %%al, (%0)\n"
#define SOFTHCA_MOVE_2 "1: movw (%1), %%ax\n2: movw %%ax, (%0)\n"
#define SOFTHCA_MOVE_4 "1: movl (%1), %%eax\n2: movl %%eax, (%0)\n"
#define SOFTHCA_MOVE_8 "1: movq (%1), %%rax\n2: movq %%rax, (%0)\n"

#elif defined(__aarch64__)

#define SOFTHCA_SCRATCH "x16"
#define SOFTHCA_MOVE_1 "1: ldrb w16, [%1]\n2: strb w16, [%0]\n"
#define SOFTHCA_MOVE_2 "1: ldrh w16, [%1]\n2: strh w16, [%0]\n"
#define SOFTHCA_MOVE_4 "1: ldr w16, [%1]\n2: str w16, [%0]\n"
#define SOFTHCA_MOVE_8 "1: ldr x16, [%1]\n2: str x16, [%0]\n"

#else
#error "the guard against faults is not written for this processor"
#endif

// From (from) to (to); a fault goes to the label `fault` of the function.
#define SOFTHCA_MOVE(code, to, from)                \
  asm goto(code                                     \
           ".pushsection softhca_ways_out, \"a\"\n" \
           ".balign 4\n"                            \
           ".long 1b - ., %l[fault] - .\n"          \
           ".long 2b - ., %l[fault] - .\n"          \
           ".popsection\n"                          \
           :                                        \
           : "r"(to), "r"(from)                     \
           : SOFTHCA_SCRATCH, "memory"              \
           : fault)

namespace softhca {

// copy_guarded() of eight bytes.
[[gnu::always_inline]] inline bool move_eight_guarded(void* to, const void* from) {
  SOFTHCA_MOVE(SOFTHCA_MOVE_8, to, from);
  return true;
fault:
  return false;
}

}  // namespace softhca
