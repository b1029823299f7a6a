/* What registering and deregistering fresh memory costs, and whether anything of it stays: one line
 * of JSON with nanoseconds a cycle, and by how much this process grew over all of them.
 * Usage: registration CYCLES */
#define _GNU_SOURCE
#include <dirent.h>
#include <infiniband/verbs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { BYTES = 16384, WARM_UP = 50000 };

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static long resident_kib(void) {
  long size, resident;
  FILE* file = fopen("/proc/self/statm", "r");
  if (!file || fscanf(file, "%ld %ld", &size, &resident) != 2) fail("/proc/self/statm");
  fclose(file);
  return resident * 4;
}

static long mappings(void) {
  FILE* file = fopen("/proc/self/maps", "r");
  if (!file) fail("/proc/self/maps");
  long count = 0;
  for (int c; (c = getc(file)) != EOF;) count += c == '\n';
  fclose(file);
  return count;
}

static long descriptors(void) {
  DIR* directory = opendir("/proc/self/fd");
  if (!directory) fail("/proc/self/fd");
  long count = 0;
  while (readdir(directory)) ++count;
  closedir(directory);
  return count;
}

static void cycle(struct ibv_pd* pd) {
  char* memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  memory[0] = 1;
  struct ibv_mr* mr = ibv_reg_mr(pd, memory, BYTES, IBV_ACCESS_LOCAL_WRITE);
  if (!mr) fail("ibv_reg_mr");
  if (ibv_dereg_mr(mr) != 0) fail("ibv_dereg_mr");
  munmap(memory, BYTES);
}

int main(int argc, char** argv) {
  const long cycles = argc == 2 ? atol(argv[1]) : 0;
  if (cycles <= 0) {
    fprintf(stderr, "usage: registration CYCLES\n");
    return 2;
  }
  struct ibv_device** list = ibv_get_device_list(NULL);
  struct ibv_context* context = list && list[0] ? ibv_open_device(list[0]) : NULL;
  struct ibv_pd* pd = context ? ibv_alloc_pd(context) : NULL;
  if (!pd) fail("no device");
  /* By then what is made once is there: the table of keys, the allocator's pages. */
  for (int i = 0; i < WARM_UP; ++i) cycle(pd);
  const long kib = resident_kib(), maps = mappings(), files = descriptors();
  const double started = now_ns();
  for (long i = 0; i < cycles; ++i) cycle(pd);
  const double ns = (now_ns() - started) / (double)cycles;
  printf("{\"ns\": %.1f, \"grownKib\": %ld, \"grownMappings\": %ld, \"grownDescriptors\": %ld}\n",
         ns, resident_kib() - kib, mappings() - maps, descriptors() - files);
  return 0;
}
