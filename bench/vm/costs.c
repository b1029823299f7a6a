/* What a system call and a page fault cost where this runs: the two that a virtual machine makes
 * dearest. Prints nanoseconds of each, one line of JSON a sample. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// An emulated guest's clock may step by 4 ms.
static const double SAMPLE_NS = 1e8;
enum { CALLS = 1000, PAGES = 1024, PAGE_BYTES = 4096 };

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double system_call_ns(void) {
  double started = now_ns(), elapsed = 0;
  long calls = 0;
  for (; elapsed < SAMPLE_NS; elapsed = now_ns() - started) {
    for (int i = 0; i < CALLS; i++) syscall(SYS_getppid);
    calls += CALLS;
  }
  return elapsed / calls;
}

static void touch(volatile char* memory, size_t bytes) {
  for (size_t at = 0; at < bytes; at += PAGE_BYTES) memory[at] = 1;
}

static double page_fault_ns(void) {
  const size_t bytes = (size_t)PAGES * PAGE_BYTES;
  void* memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  // One fault a page, whatever the kernel would like.
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  double started = now_ns(), elapsed = 0;
  long faults = 0;
  for (; elapsed < SAMPLE_NS; elapsed = now_ns() - started) {
    touch(memory, bytes);
    // Takes the pages away again, in one call for all.
    madvise(memory, bytes, MADV_DONTNEED);
    faults += PAGES;
  }
  munmap(memory, bytes);
  return elapsed / faults;
}

int main(int argc, char** argv) {
  int samples = argc > 1 ? atoi(argv[1]) : 5;
  for (int i = 0; i < samples; i++) {
    printf("{\"systemCall\":%.1f,\"pageFault\":%.1f}\n", system_call_ns(), page_fault_ns());
  }
  return 0;
}
