// Lets a transfer meet memory that went away: see the header.
#include "softhca/fault_guard.h"

#include <signal.h>
#include <ucontext.h>

#include <cstdint>
#include <mutex>

#ifdef __x86_64__

// The stack pointer to return to, nullptr outside of guarded(). Initial-exec: a handler may not
// call the allocator that other models may call. Not static: the assembly below names it.
extern "C" {
__attribute__((visibility("hidden"),
               tls_model("initial-exec"))) thread_local void* softhca_recovery_stack = nullptr;
int softhca_call_guarded(void (*work)(void*), void* argument);
void softhca_recovered();
}

// int softhca_call_guarded(work, argument): 1, or 0 if the handler came to softhca_recovered.
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
  movq softhca_recovery_stack@gottpoff(%rip), %rax
  movq %rsp, %fs:(%rax)
  movq %rdi, %rcx
  movq %rsi, %rdi
  call *%rcx
  movl $1, %eax
softhca_return:
  movq softhca_recovery_stack@gottpoff(%rip), %rcx
  movq $0, %fs:(%rcx)
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

namespace softhca {
namespace {

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

void on_fault(int signal, siginfo_t* info, void* context) {
  void* stack = softhca_recovery_stack;
  // Positive codes are the kernel's own; others are sent by somebody.
  if (!stack || info->si_code <= 0) {
    pass_on(signal, info, context);
    return;
  }
  fault_address = info->si_code == SI_KERNEL ? nullptr : info->si_addr;
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  registers[REG_RSP] = reinterpret_cast<greg_t>(stack);
  registers[REG_RIP] = reinterpret_cast<greg_t>(&softhca_recovered);
  registers[REG_EFL] &= ~greg_t{0x400};  // the direction flag, clear at calls
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
  if (__builtin_expect(softhca_call_guarded(work, argument), 1)) return true;
  *address = fault_address;
  return false;
}

}  // namespace softhca

#else

// Not written for this processor yet: memory that goes away while it is registered ends the
// program.
namespace softhca {

void watch_faults() {}

bool guarded(void (*work)(void*), void* argument, void** address) {
  *address = nullptr;
  work(argument);
  return true;
}

}  // namespace softhca

#endif
