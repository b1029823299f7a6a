// The provider loader, handles, and rings, against the software HCA itself.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "verbs/objects.h"
#include "verbs/provider.h"
#include "verbs/rings.h"

// The build says where the software HCA is; without it, the loader's search finds one.
#ifndef SOFTWARE_HCA
#define SOFTWARE_HCA "libviaduct-softhca.so"
#endif

namespace viaduct::verbs {
namespace {

TEST(Provider, WithoutALibraryThereTheReasonNamesIt) {
  std::string problem;
  EXPECT_EQ(Provider::load("libnothing-of-that-name.so.1", problem), nullptr);
  EXPECT_NE(problem.find("libnothing-of-that-name.so.1"), std::string::npos);
}

TEST(Provider, AnotherLibraryIsNone) {
  std::string problem;
  EXPECT_EQ(Provider::load("libc.so.6", problem), nullptr);
  EXPECT_NE(problem.find("no function ibv_get_device_list"), std::string::npos);
}

struct FakeBacking final : Backing {
  explicit FakeBacking(const bool& is_attached) : is_attached(is_attached) {}
  bool attached() const override { return is_attached; }
  const bool& is_attached;
};

class Rings : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string problem;
    provider = Provider::load(SOFTWARE_HCA, problem);
    ASSERT_NE(provider, nullptr) << problem;
    int count = 0;
    ibv_device** list = provider->ibv_get_device_list(&count);
    ASSERT_NE(list, nullptr);
    context = objects.add(std::make_unique<Context>(provider, provider->ibv_open_device(list[0])));
    provider->ibv_free_device_list(list);
    ASSERT_NE(context->verbs, nullptr);
    domain =
        objects.add(std::make_unique<Domain>(*context, provider->ibv_alloc_pd(context->verbs)));
    cq = objects.add(std::make_unique<CompletionQueue>(
        *context, provider->ibv_create_cq(context->verbs, 64, nullptr, nullptr, 0), nullptr));
    ibv_qp_init_attr init = {};
    init.send_cq = cq->verbs;
    init.recv_cq = cq->verbs;
    init.cap = {16, 16, 1, 1, 64};
    init.qp_type = IBV_QPT_RC;
    qp = objects.add(std::make_unique<QueuePair>(
        *context, domain, provider->ibv_create_qp(domain->verbs, &init), nullptr));
    ASSERT_NE(qp->verbs, nullptr);
    connect();
    region = objects.add(std::make_unique<Region>(
        *domain, provider->ibv_reg_mr(domain->verbs, memory.data(), memory.size(), access),
        std::make_unique<FakeBacking>(attached)));
    region->enlist();
    ring = objects.add(make_ring(RingKind::send, send_memory));
    completions = objects.add(make_ring(RingKind::completion, completion_memory));
  }

  static std::unique_ptr<Ring> make_ring(RingKind kind, std::vector<std::byte>& bytes) {
    return Ring::create(kind, nullptr, bytes.data(), bytes.size(), 4, 1, 64);
  }

  // To itself.
  void connect() {
    ibv_qp_attr attr = {};
    attr.qp_state = IBV_QPS_INIT;
    attr.port_num = 1;
    attr.qp_access_flags = access;
    modify(attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
    attr.qp_state = IBV_QPS_RTR;
    attr.path_mtu = IBV_MTU_4096;
    attr.dest_qp_num = qp->verbs->qp_num;
    attr.max_dest_rd_atomic = 1;
    attr.ah_attr.port_num = 1;
    attr.ah_attr.dlid = 1;
    modify(attr, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                     IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
    attr.qp_state = IBV_QPS_RTS;
    modify(attr, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                     IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
  }
  void modify(ibv_qp_attr& attr, int mask) {
    ASSERT_EQ(provider->ibv_modify_qp(qp->verbs, &attr, mask), 0) << attr.qp_state;
  }

  // Writes 8 bytes from the region's start to its middle.
  SendDescriptor& write(uint32_t slot) {
    auto& descriptor = *reinterpret_cast<SendDescriptor*>(ring->slot(slot));
    descriptor = {};
    descriptor.wr_id = 40 + slot;
    descriptor.opcode = IBV_WR_RDMA_WRITE;
    descriptor.send_flags = IBV_SEND_SIGNALED;
    descriptor.length = 1;
    descriptor.remote_addr = reinterpret_cast<uintptr_t>(memory.data() + 64);
    descriptor.rkey = region->verbs->rkey;
    *reinterpret_cast<ibv_sge*>(&descriptor + 1) = {reinterpret_cast<uintptr_t>(memory.data()), 8,
                                                    region->verbs->lkey};
    return descriptor;
  }

  static constexpr int access =
      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  std::vector<uint8_t> memory = std::vector<uint8_t>(128, 7);
  std::vector<std::byte> send_memory = std::vector<std::byte>(1024);
  std::vector<std::byte> completion_memory = std::vector<std::byte>(192);
  bool attached = true;
  Objects objects;
  std::shared_ptr<const Provider> provider;
  Context* context = nullptr;
  Domain* domain = nullptr;
  CompletionQueue* cq = nullptr;
  QueuePair* qp = nullptr;
  Region* region = nullptr;
  Ring* ring = nullptr;
  Ring* completions = nullptr;
};

TEST_F(Rings, ABatchIsPostedAndItsCompletionsPolled) {
  memory[64] = 0;
  for (uint32_t slot = 0; slot < 4; ++slot) write(slot);
  const Posted posted = post_send(objects, *qp, *ring, 0, 4);
  EXPECT_EQ(posted.error, 0);
  EXPECT_EQ(posted.count, 4u);
  ASSERT_EQ(poll(*cq, *completions, 100), 4);
  for (uint32_t slot = 0; slot < 4; ++slot) {
    const auto& wc = *reinterpret_cast<const ibv_wc*>(completions->slot(slot));
    EXPECT_EQ(wc.status, IBV_WC_SUCCESS);
    EXPECT_EQ(wc.wr_id, 40 + slot);
  }
  EXPECT_EQ(memory[64], 7);
}

TEST_F(Rings, WhatStandsBeforeADetachedRegionIsPosted) {
  write(0).send_flags |= IBV_SEND_INLINE;
  write(1);
  attached = false;
  const Posted posted = post_send(objects, *qp, *ring, 0, 2);
  EXPECT_EQ(posted.error, post_detached);
  EXPECT_EQ(posted.count, 1u);
}

TEST_F(Rings, ASlotThatClaimsMoreThanItHasIsRefused) {
  write(0).length = 2;
  EXPECT_EQ(post_send(objects, *qp, *ring, 0, 1).error, post_bad_slot);
  write(0).send_flags |= IBV_SEND_INLINE;
  reinterpret_cast<SendDescriptor*>(ring->slot(0))->length = 65;
  EXPECT_EQ(post_send(objects, *qp, *ring, 0, 1).error, post_bad_slot);
}

TEST_F(Rings, ABindThatNamesNoWindowIsRefused) {
  write(0).opcode = IBV_WR_BIND_MW;
  EXPECT_EQ(post_send(objects, *qp, *ring, 0, 1).error, post_stale_object);
}

TEST_F(Rings, AnOpcodeThatTakesAPointerIsRefused) {
  write(0).opcode = IBV_WR_TSO;
  EXPECT_EQ(post_send(objects, *qp, *ring, 0, 1).error, EOPNOTSUPP);
}

TEST_F(Rings, SlotsOutsideAreNone) {
  EXPECT_TRUE(ring->holds(0, 4));
  EXPECT_FALSE(ring->holds(1, 4));
  EXPECT_FALSE(ring->holds(UINT32_MAX, 2));
}

TEST_F(Rings, MemoryTooSmallForItsSlotsIsNoRing) {
  std::vector<std::byte> small(512);
  EXPECT_EQ(Ring::create(RingKind::send, nullptr, small.data(), small.size(), 4, 1, 64), nullptr);
}

TEST_F(Rings, AStaleHandleFindsNothingAndAnotherKindNeither) {
  const Handle handle = region->handle;
  EXPECT_EQ(objects.find<Region>(handle), region);
  EXPECT_EQ(objects.find<QueuePair>(handle), nullptr);
  EXPECT_EQ(objects.destroy(handle), 0);
  EXPECT_EQ(objects.find<Region>(handle), nullptr);
  EXPECT_EQ(objects.destroy(handle), EBADF);
  EXPECT_TRUE(domain->detachable.empty());
}

TEST_F(Rings, WhatHasChildrenIsNotDestroyed) {
  EXPECT_EQ(objects.destroy(domain->handle), EBUSY);
  EXPECT_EQ(objects.find<Domain>(domain->handle), domain);
}

}  // namespace
}  // namespace viaduct::verbs
