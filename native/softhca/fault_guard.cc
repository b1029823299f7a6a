// Lets a transfer meet memory that went away: see the header.
#include "softhca/fault_guard.h"

#include <signal.h>
#include <ucontext.h>

#include <cstdint>
#include <mutex>

#include "softhca/guarded_move.h"

extern "C" {
// Calls work(argument) and returns 1. Notes the stack pointer in *recovery first; whoever sets it
// and jumps to softhca_recovered makes the call return 0. What a function has to keep for its
// caller lies on the stack then.
int softhca_call_guarded(void (*work)(void*), void* argument, void** recovery);
void softhca_recovered();
}

#if defined(__x86_64__)

asm(R"(
  .pushsection .text
  .globl softhca_call_guarded
  .hidden softhca_call_guarded
  .type softhca_call_guarded, @function
softhca_call_guarded:
  .cfi_startproc
  endbr64
  pushq %rbp
  .cfi_adjust_cfa_offset 8
  pushq %rbx
  .cfi_adjust_cfa_offset 8
  pushq %r12
  .cfi_adjust_cfa_offset 8
  pushq %r13
  .cfi_adjust_cfa_offset 8
  pushq %r14
  .cfi_adjust_cfa_offset 8
  pushq %r15
  .cfi_adjust_cfa_offset 8
  subq $8, %rsp
  .cfi_adjust_cfa_offset 8
  movq %rsp, (%rdx)
  movq %rdi, %rcx
  movq %rsi, %rdi
  call *%rcx
  movl $1, %eax
softhca_return:
  addq $8, %rsp
  .cfi_adjust_cfa_offset -8
  popq %r15
  .cfi_adjust_cfa_offset -8
  popq %r14
  .cfi_adjust_cfa_offset -8
  popq %r13
  .cfi_adjust_cfa_offset -8
  popq %r12
  .cfi_adjust_cfa_offset -8
  popq %rbx
  .cfi_adjust_cfa_offset -8
  popq %rbp
  .cfi_adjust_cfa_offset -8
  ret
  .globl softhca_recovered
  .hidden softhca_recovered
softhca_recovered:
  xorl %eax, %eax
  jmp softhca_return
  .cfi_endproc
  .size softhca_call_guarded, . - softhca_call_guarded
  .popsection
)");

#elif defined(__aarch64__)

asm(R"(
  .pushsection .text
  .globl softhca_call_guarded
  .hidden softhca_call_guarded
  .type softhca_call_guarded, %function
softhca_call_guarded:
  .cfi_startproc
  hint #34
  stp x29, x30, [sp, #-160]!
  .cfi_def_cfa_offset 160
  .cfi_offset x29, -160
  .cfi_offset x30, -152
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x2]
  mov x9, x0
  mov x0, x1
  blr x9
  mov w0, #1
softhca_return:
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  ldp x29, x30, [sp], #160
  ret
  .globl softhca_recovered
  .hidden softhca_recovered
softhca_recovered:
  hint #36
  mov w0, #0
  b softhca_return
  .cfi_endproc
  .size softhca_call_guarded, . - softhca_call_guarded
  .popsection
)");

#endif

namespace softhca {
struct WayOut {
  int32_t instruction, target;  // each counted from where it stands
};
}  // namespace softhca

// Bounds of the table, by the linker, which also names them.
// NOLINTBEGIN(readability-identifier-naming)
extern "C" __attribute__((visibility("hidden"))) const softhca::WayOut __start_softhca_ways_out[];
extern "C" __attribute__((visibility("hidden"))) const softhca::WayOut __stop_softhca_ways_out[];
// NOLINTEND(readability-identifier-naming)

namespace softhca {
namespace {

// Initial-exec: a handler may not call the allocator that other models may call.
// The stack pointer to return to, nullptr outside of guarded().
__attribute__((tls_model("initial-exec"))) thread_local void* recovery_stack = nullptr;
__attribute__((tls_model("initial-exec"))) thread_local void* fault_address = nullptr;
__attribute__((tls_model("initial-exec"))) thread_local const void* chained_context = nullptr;
__attribute__((tls_model("initial-exec"))) thread_local uintptr_t chained_frame = 0;

std::mutex mutex;
// Read by the handler without the lock: written before the handler is installed.
struct sigaction previous_segv, previous_bus;

void pass_on(int signal, siginfo_t* info, void* context) {
  const struct sigaction& before = signal == SIGSEGV ? previous_segv : previous_bus;
  const bool special = !(before.sa_flags & SA_SIGINFO) &&
                       (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN);
  // A handler installed after ours may itself pass on to ours: then nobody is left to ask.
  // It gets the same context on a deeper stack; a frame that is not deeper is another signal, and
  // the note is what a handler left that jumped out.
  const auto frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  const bool returned = chained_context == context && frame < chained_frame;
  if (special || returned) {
    // Return to the same instruction: it faults again, now to its end. What was sent by kill()
    // happens again by hand.
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    sigaction(signal, &standard, nullptr);
    if (info->si_code <= 0) raise(signal);
    return;
  }
  chained_context = context;
  chained_frame = frame;
  if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(signal, info, context);
  } else {
    before.sa_handler(signal);
  }
  chained_context = nullptr;
}

#if defined(__x86_64__)
uintptr_t program_counter(const ucontext_t& context) {
  return uintptr_t(context.uc_mcontext.gregs[REG_RIP]);
}
void go_on_at(ucontext_t& context, uintptr_t address) {
  context.uc_mcontext.gregs[REG_RIP] = greg_t(address);
}
void set_stack(ucontext_t& context, void* stack) {
  context.uc_mcontext.gregs[REG_RSP] = reinterpret_cast<greg_t>(stack);
  context.uc_mcontext.gregs[REG_EFL] &= ~greg_t{0x400};  // the direction flag, clear at calls
}
#else
uintptr_t program_counter(const ucontext_t& context) { return uintptr_t(context.uc_mcontext.pc); }
void go_on_at(ucontext_t& context, uintptr_t address) { context.uc_mcontext.pc = address; }
void set_stack(ucontext_t& context, void* stack) {
  context.uc_mcontext.sp = reinterpret_cast<uintptr_t>(stack);
}
#endif

uintptr_t way_out_of(uintptr_t instruction) {
  for (const WayOut* entry = __start_softhca_ways_out; entry != __stop_softhca_ways_out; ++entry) {
    const auto from = reinterpret_cast<uintptr_t>(&entry->instruction);
    if (from + uintptr_t(intptr_t(entry->instruction)) == instruction)
      return reinterpret_cast<uintptr_t>(&entry->target) + uintptr_t(intptr_t(entry->target));
  }
  return 0;
}

void on_fault(int signal, siginfo_t* info, void* argument) {
  auto& context = *static_cast<ucontext_t*>(argument);
  // Positive codes are the kernel's own; others are sent by somebody.
  const bool real = info->si_code > 0;
  const uintptr_t target = real ? way_out_of(program_counter(context)) : 0;
  if (target != 0) {
    go_on_at(context, target);
  } else if (real && recovery_stack) {
    fault_address = info->si_code == SI_KERNEL ? nullptr : info->si_addr;
    set_stack(context, recovery_stack);
    go_on_at(context, reinterpret_cast<uintptr_t>(&softhca_recovered));
  } else {
    pass_on(signal, info, argument);
  }
}

void install(int signal, struct sigaction* previous) {
  struct sigaction current {};
  if (sigaction(signal, nullptr, &current) != 0) return;
  if ((current.sa_flags & SA_SIGINFO) && current.sa_sigaction == on_fault) return;
  *previous = current;
  struct sigaction ours {};
  ours.sa_sigaction = on_fault;
  // As the one before, so that it finds what it expects: mask, alternate stack, and the rest.
  ours.sa_mask = current.sa_mask;
  ours.sa_flags = (current.sa_flags & ~int(SA_RESETHAND)) | SA_SIGINFO | SA_ONSTACK;
  sigaction(signal, &ours, nullptr);
}

}  // namespace

void watch_faults() {
  const std::lock_guard guard(mutex);
  install(SIGSEGV, &previous_segv);
  install(SIGBUS, &previous_bus);
}

bool guarded(void (*work)(void*), void* argument, void** address) {
  const bool done = softhca_call_guarded(work, argument, &recovery_stack) != 0;
  recovery_stack = nullptr;
  if (!done) *address = fault_address;
  return done;
}

bool copy_guarded(void* to_memory, const void* from_memory, size_t bytes) {
  auto* to = static_cast<uint8_t*>(to_memory);
  auto* from = static_cast<const uint8_t*>(from_memory);
  if (bytes & 4) {
    SOFTHCA_MOVE(SOFTHCA_MOVE_4, to, from);
    to += 4;
    from += 4;
  }
  if (bytes & 2) {
    SOFTHCA_MOVE(SOFTHCA_MOVE_2, to, from);
    to += 2;
    from += 2;
  }
  if (bytes & 1) {
    SOFTHCA_MOVE(SOFTHCA_MOVE_1, to, from);
    ++to;
    ++from;
  }
  for (size_t left = bytes / 8; left > 0; --left) {
#if defined(__aarch64__)
    if (left == 1) asm volatile("dmb ishst" : : : "memory");  // x86-64 keeps the order of stores
#endif
    SOFTHCA_MOVE(SOFTHCA_MOVE_8, to, from);
    to += 8;
    from += 8;
  }
  return true;
fault:
  return false;
}

}  // namespace softhca
