// Memory in its rarer forms: regions that page on demand, device memory, and what registering
// leaves.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdio>

#include "child.h"
#include "fabric.h"
#include "softhca/extensions.h"

#undef ibv_reg_mr

namespace {

constexpr size_t page = 4096;
constexpr int on_demand = all_access | IBV_ACCESS_ON_DEMAND;

uint8_t* map(void* at, size_t bytes, int protection = PROT_READ | PROT_WRITE) {
  void* memory = mmap(at, bytes, protection,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);
  EXPECT_NE(memory, MAP_FAILED);
  return static_cast<uint8_t*>(memory);
}

ibv_wc write_to(Endpoint& mine, const Name& theirs, uint8_t value, uint32_t bytes = 100) {
  memset(mine.memory.data(), value, bytes);
  ibv_send_wr wr = mine.make(value, IBV_WR_RDMA_WRITE, 0, bytes);
  wr.wr.rdma = {theirs.address, theirs.rkey};
  EXPECT_EQ(mine.post(wr), 0);
  return mine.wait();
}

bool resident(uint8_t* memory) {
  unsigned char present = 0;
  EXPECT_EQ(mincore(memory, page, &present), 0);
  return present & 1;
}

int advise(Endpoint& endpoint, ibv_advise_mr_advice advice, uint8_t* at, uint32_t bytes,
           uint32_t lkey) {
  ibv_sge sge{reinterpret_cast<uint64_t>(at), bytes, lkey};
  return ibv_advise_mr(endpoint.pd, advice, IBV_ADVISE_MR_FLAG_FLUSH, &sge, 1);
}

long resident_kib() {
  long size = 0, pages = 0;
  FILE* file = fopen("/proc/self/statm", "re");
  EXPECT_EQ(fscanf(file, "%ld %ld", &size, &pages), 2);
  fclose(file);
  return pages * long(page) / 1024;
}

int entries_of(const char* folder) {
  int count = 0;
  DIR* directory = opendir(folder);
  while (readdir(directory)) ++count;
  closedir(directory);
  return count;
}

int mappings() {
  int count = 0, c;
  FILE* file = fopen("/proc/self/maps", "re");
  while ((c = getc(file)) != EOF) count += c == '\n';
  fclose(file);
  return count;
}

}  // namespace

TEST(OnDemand, a_region_is_what_is_mapped_there_when_the_peer_comes) {
  Child child([](int in, int out) {
    Endpoint mine;
    uint8_t* memory = map(nullptr, 4 * page, PROT_NONE);
    ibv_mr* mr = ibv_reg_mr(mine.pd, memory, 4 * page, on_demand);
    ASSERT_NE(mr, nullptr) << strerror(errno);
    put(out, Name{mine.qp->qp_num, mr->rkey, reinterpret_cast<uint64_t>(memory)});
    ASSERT_EQ(mine.connect(get<Name>(in)), 0);
    for (int round = 1; round <= 2; ++round) {
      map(memory, 4 * page);
      put(out, 'm');
      get<char>(in);
      EXPECT_EQ(memory[0], round);
      EXPECT_EQ(memory[99], round);
      EXPECT_EQ(memory[100], 0);
    }
    munmap(memory, 4 * page);
    put(out, 'u');
    get<char>(in);
    EXPECT_EQ(ibv_dereg_mr(mr), 0);
  });
  Name theirs = get<Name>(child.from);
  Endpoint mine;
  put(child.to, mine.name());
  ASSERT_EQ(mine.connect(theirs), 0);
  for (uint8_t round = 1; round <= 2; ++round) {
    get<char>(child.from);
    EXPECT_EQ(write_to(mine, theirs, round).status, IBV_WC_SUCCESS);
    put(child.to, 'w');
  }
  viaduct_qp_path path{};
  path.size = sizeof path;
  ASSERT_EQ(viaduct_explain_qp(mine.qp, &path), 0);
  EXPECT_EQ(path.copied_operations, 2u);
  get<char>(child.from);
  EXPECT_EQ(write_to(mine, theirs, 3).status, IBV_WC_REM_OP_ERR);
  put(child.to, 'e');
  EXPECT_EQ(child.finish(), 0);
}

TEST(OnDemand, an_implicit_region_is_all_of_the_address_space) {
  Pair pair;
  ibv_mr* from = ibv_reg_mr(pair.a.pd, nullptr, SIZE_MAX, on_demand);
  ibv_mr* to = ibv_reg_mr(pair.b.pd, nullptr, SIZE_MAX, on_demand);
  ASSERT_NE(from, nullptr) << strerror(errno);
  ASSERT_NE(to, nullptr) << strerror(errno);
  uint8_t source[64], target[64] = {};
  memset(source, 7, sizeof source);
  ibv_send_wr wr = pair.a.make(1, IBV_WR_RDMA_WRITE, 0, sizeof source);
  *wr.sg_list = {reinterpret_cast<uint64_t>(source), sizeof source, from->lkey};
  wr.wr.rdma = {reinterpret_cast<uint64_t>(target), to->rkey};
  ASSERT_EQ(pair.a.post(wr), 0);
  EXPECT_EQ(pair.a.wait().status, IBV_WC_SUCCESS);
  EXPECT_EQ(memcmp(source, target, sizeof source), 0);
  EXPECT_EQ(ibv_dereg_mr(from), 0);
  EXPECT_EQ(ibv_dereg_mr(to), 0);
  // Without paging on demand it would have to be there.
  EXPECT_EQ(ibv_reg_mr(pair.a.pd, nullptr, SIZE_MAX, all_access), nullptr);
}

TEST(OnDemand, advice_makes_pages_present_and_is_checked) {
  Endpoint endpoint;
  uint8_t* memory = map(nullptr, 4 * page);
  ibv_mr* mr = ibv_reg_mr(endpoint.pd, memory, 4 * page, on_demand);
  ibv_mr* readable = ibv_reg_mr(endpoint.pd, memory, 4 * page, IBV_ACCESS_ON_DEMAND);
  ASSERT_NE(mr, nullptr);
  ASSERT_NE(readable, nullptr);
  EXPECT_FALSE(resident(memory));
  constexpr auto write = IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE;
  constexpr auto no_fault = IBV_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT;
  EXPECT_EQ(advise(endpoint, no_fault, memory, page, mr->lkey), 0);
  EXPECT_FALSE(resident(memory));
  EXPECT_EQ(advise(endpoint, write, memory, page, mr->lkey), 0);
  EXPECT_TRUE(resident(memory));
  EXPECT_FALSE(resident(memory + page));
  EXPECT_EQ(advise(endpoint, write, memory, 5 * page, mr->lkey), EFAULT);
  EXPECT_EQ(advise(endpoint, write, memory, page, readable->lkey), EPERM);
  EXPECT_EQ(advise(endpoint, write, memory, page, mr->lkey ^ 1), EFAULT);
  EXPECT_EQ(advise(endpoint, write, endpoint.memory.data(), page, endpoint.mr->lkey), EFAULT)
      << "a region that doesn't page on demand";
  munmap(memory, 4 * page);
  EXPECT_EQ(advise(endpoint, write, memory, page, mr->lkey), EFAULT);
  EXPECT_EQ(ibv_dereg_mr(mr), 0);
  EXPECT_EQ(ibv_dereg_mr(readable), 0);
}

TEST(DeviceMemory, a_peer_writes_to_it_directly) {
  constexpr int access = all_access | IBV_ACCESS_ZERO_BASED;
  Child child([](int in, int out) {
    Endpoint mine;
    ibv_alloc_dm_attr attr{page, 0, 0};
    ibv_dm* dm = ibv_alloc_dm(mine.context, &attr);
    ASSERT_NE(dm, nullptr) << strerror(errno);
    // From its middle: the peer's address 0 is there.
    ibv_mr* mr = ibv_reg_dm_mr(mine.pd, dm, 64, 1024, access);
    ASSERT_NE(mr, nullptr) << strerror(errno);
    put(out, Name{mine.qp->qp_num, mr->rkey, 8});
    ASSERT_EQ(mine.connect(get<Name>(in)), 0);
    put(out, 'r');
    get<char>(in);
    uint8_t seen[100];
    EXPECT_EQ(ibv_memcpy_from_dm(seen, dm, 72, sizeof seen), 0);
    for (uint8_t byte : seen) EXPECT_EQ(byte, 5);
    EXPECT_EQ(ibv_free_dm(dm), EBUSY) << "while a region lies in it";
    EXPECT_EQ(ibv_dereg_mr(mr), 0);
    EXPECT_EQ(ibv_free_dm(dm), 0);
  });
  Name theirs = get<Name>(child.from);
  Endpoint mine;
  put(child.to, mine.name());
  ASSERT_EQ(mine.connect(theirs), 0);
  get<char>(child.from);
  EXPECT_EQ(write_to(mine, theirs, 5).status, IBV_WC_SUCCESS);
  viaduct_qp_path path{};
  path.size = sizeof path;
  ASSERT_EQ(viaduct_explain_qp(mine.qp, &path), 0);
  EXPECT_EQ(path.direct_bytes, 100u) << path.text;
  EXPECT_EQ(path.copied_bytes, 0u);
  EXPECT_EQ(write_to(mine, {theirs.qp_num, theirs.rkey, 1000}, 5).status, IBV_WC_REM_ACCESS_ERR);
  put(child.to, 'd');
  EXPECT_EQ(child.finish(), 0);
}

TEST(DeviceMemory, what_does_not_fit_is_refused) {
  Endpoint endpoint;
  ibv_device_attr_ex device{};
  ASSERT_EQ(ibv_query_device_ex(endpoint.context, nullptr, &device), 0);
  ibv_alloc_dm_attr attr{device.max_dm_size, 0, 0};
  ibv_dm* all = ibv_alloc_dm(endpoint.context, &attr);
  ASSERT_NE(all, nullptr);
  attr.length = 4;
  EXPECT_EQ(ibv_alloc_dm(endpoint.context, &attr), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(ibv_free_dm(all), 0);
  attr = {100, 12, 0};
  ibv_dm* dm = ibv_alloc_dm(endpoint.context, &attr);
  ASSERT_NE(dm, nullptr);
  uint8_t bytes[104] = {};
  EXPECT_EQ(ibv_memcpy_to_dm(dm, 0, bytes, 100), 0);
  EXPECT_NE(ibv_memcpy_to_dm(dm, 0, bytes, 104), 0);
  EXPECT_NE(ibv_memcpy_to_dm(dm, 2, bytes, 4), 0) << "not a multiple of four";
  EXPECT_NE(ibv_memcpy_from_dm(bytes, dm, 0, 3), 0);
  constexpr int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_ZERO_BASED;
  EXPECT_EQ(ibv_reg_dm_mr(endpoint.pd, dm, 4, 100, access), nullptr);
  EXPECT_EQ(ibv_reg_dm_mr(endpoint.pd, dm, 0, 100, IBV_ACCESS_LOCAL_WRITE), nullptr);
  EXPECT_EQ(ibv_free_dm(dm), 0);
}

// The bench measures a million rounds; these many would show what leaks by the page, and the
// sanitizer what leaks by the byte.
TEST(Registration, leaves_nothing_behind) {
  Endpoint endpoint;
  const bool remap = getenv("VIADUCT_REMAP") != nullptr;
  auto cycle = [&](int round) {
    constexpr size_t bytes = 16 * page;
    const bool in_file = round % 4 == 0;
    uint8_t* memory;
    int fd = -1;
    if (in_file) {
      fd = memfd_create("registration", MFD_CLOEXEC | MFD_ALLOW_SEALING);
      ASSERT_EQ(ftruncate(fd, bytes), 0);
      ASSERT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
      void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      ASSERT_NE(mapped, MAP_FAILED);
      memory = static_cast<uint8_t*>(mapped);
    } else {
      memory = map(nullptr, bytes);
    }
    ibv_mr* mr = ibv_reg_mr(endpoint.pd, memory, bytes, round % 3 ? all_access : on_demand);
    ASSERT_NE(mr, nullptr) << strerror(errno);
    ASSERT_EQ(ibv_dereg_mr(mr), 0);
    munmap(memory, bytes);
    if (fd >= 0) close(fd);
  };
  constexpr int rounds = 2000;
  for (int i = 0; i < rounds; ++i) cycle(i);
  const long before_kib = resident_kib();
  const int before_mappings = mappings(), before_files = entries_of("/proc/self/fd");
  for (int i = 0; i < rounds; ++i) cycle(i);
  // The table of keys is used all over, in time: 8 MiB of it; and the sanitizers take their share.
  // A leak of each round's memory would be 128 MiB.
  EXPECT_LT(resident_kib() - before_kib, 48 << 10) << (remap ? "remapped" : "as it is");
  EXPECT_LE(mappings(), before_mappings + 4);
  EXPECT_LE(entries_of("/proc/self/fd"), before_files + 1);
}
