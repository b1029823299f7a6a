// viaduct_explain_qp: which path, why, and how much went by it.
#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>

#include "child.h"
#include "fabric.h"
#include "softhca/extensions.h"

#undef ibv_reg_mr

namespace {

constexpr size_t file_bytes = 1 << 16;

viaduct_qp_path explain(ibv_qp* qp) {
  viaduct_qp_path path{};
  path.size = sizeof path;
  EXPECT_EQ(viaduct_explain_qp(qp, &path), 0);
  EXPECT_EQ(path.size, sizeof path);
  EXPECT_STRNE(path.text, "");
  return path;
}

// A region in a memfd with these seals, instead of the endpoint's own memory.
ibv_mr* register_file(Endpoint& endpoint, int seals) {
  int fd = memfd_create("explain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  EXPECT_EQ(ftruncate(fd, file_bytes), 0);
  if (seals) EXPECT_EQ(fcntl(fd, F_ADD_SEALS, seals), 0);
  void* memory = mmap(nullptr, file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  EXPECT_NE(memory, MAP_FAILED);
  ibv_mr* mr = ibv_reg_mr(endpoint.pd, memory, file_bytes, all_access);
  EXPECT_NE(mr, nullptr);
  close(fd);
  return mr;
}

// What is said of a peer that prepares itself by `prepare`, before and after one write of 100 bytes
// to its first region.
template <typename Prepare, typename Check>
void with_peer(Prepare prepare, Check check) {
  Child child([&](int in, int out) {
    Endpoint mine;
    Name name = mine.name();
    prepare(mine, name);
    put(out, name);
    ASSERT_EQ(mine.connect(get<Name>(in)), 0);
    put(out, 'r');
    char end;
    EXPECT_EQ(read(in, &end, 1), 0);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  });
  Name theirs = get<Name>(child.from);
  Endpoint mine;
  put(child.to, mine.name());
  get<char>(child.from);
  ASSERT_EQ(mine.connect(theirs), 0);
  check(mine, theirs, child);
  close(child.to);
  child.to = -1;
  if (child.pid > 0) EXPECT_EQ(child.finish(), 0);
}

void write_100(Endpoint& mine, const Name& theirs) {
  ibv_send_wr wr = mine.make(1, IBV_WR_RDMA_WRITE, 0, 100);
  wr.wr.rdma = {theirs.address, theirs.rkey};
  ASSERT_EQ(mine.post(wr), 0);
  ASSERT_EQ(mine.wait().status, IBV_WC_SUCCESS);
}

}  // namespace

TEST(Explain, a_queue_pair_without_a_peer_has_no_path) {
  Endpoint endpoint;
  EXPECT_EQ(explain(endpoint.qp).reason, uint32_t(VIADUCT_REASON_NOT_CONNECTED));
  ASSERT_EQ(endpoint.connect({0x3ffffe, 0, 0}), 0);
  viaduct_qp_path path = explain(endpoint.qp);
  EXPECT_EQ(path.path, uint32_t(VIADUCT_PATH_NONE));
  EXPECT_EQ(path.reason, uint32_t(VIADUCT_REASON_NO_PEER));
  Endpoint datagrams({.type = IBV_QPT_UD});
  ASSERT_EQ(datagrams.connect(datagrams.name()), 0);
  EXPECT_EQ(explain(datagrams.qp).reason, uint32_t(VIADUCT_REASON_DATAGRAM));
}

TEST(Explain, a_peer_in_the_same_process_is_loopback) {
  Pair pair;
  write_100(pair.a, pair.b.name());
  viaduct_qp_path path = explain(pair.a.qp);
  EXPECT_EQ(path.path, uint32_t(VIADUCT_PATH_LOOPBACK));
  EXPECT_EQ(path.peer_pid, getpid());
  EXPECT_EQ(path.direct_operations, 1u);
  EXPECT_EQ(path.direct_bytes, 100u);
  EXPECT_EQ(path.copied_operations, 0u);
}

TEST(Explain, private_memory_of_another_process_is_copied) {
  with_peer([](Endpoint&, Name&) {},
            [](Endpoint& mine, const Name& theirs, Child& child) {
              viaduct_qp_path path = explain(mine.qp);
              EXPECT_EQ(path.peer_pid, child.pid);
              EXPECT_EQ(path.copied_regions, 1u);
              if (path.copy_permitted == 0) GTEST_SKIP() << "the kernel permits no copy here";
              EXPECT_EQ(path.path, uint32_t(VIADUCT_PATH_COPY));
              EXPECT_EQ(path.reason, uint32_t(VIADUCT_REASON_PRIVATE)) << path.text;
              write_100(mine, theirs);
              path = explain(mine.qp);
              EXPECT_EQ(path.copied_operations, 1u);
              EXPECT_EQ(path.copied_bytes, 100u);
              EXPECT_EQ(path.direct_operations, 0u);
            });
}

TEST(Explain, a_sealed_file_is_direct_beside_private_memory_that_is_copied) {
  with_peer(
      [](Endpoint& peer, Name& name) {
        ibv_mr* mr = register_file(peer, F_SEAL_SHRINK);
        name.address = reinterpret_cast<uint64_t>(mr->addr);
        name.rkey = mr->rkey;
      },
      [](Endpoint& mine, const Name& theirs, Child&) {
        viaduct_qp_path path = explain(mine.qp);
        EXPECT_EQ(path.path, uint32_t(VIADUCT_PATH_MIXED)) << path.text;
        EXPECT_EQ(path.direct_regions, 1u);
        EXPECT_EQ(path.copied_regions, 1u);
        write_100(mine, theirs);
        EXPECT_EQ(explain(mine.qp).direct_bytes, 100u);
        EXPECT_EQ(explain(mine.qp).copied_bytes, 0u);
      });
}

TEST(Explain, only_a_sealed_file_is_direct_and_one_that_may_shrink_is_not) {
  for (int seals : {F_SEAL_SHRINK, 0}) {
    with_peer(
        [&](Endpoint& peer, Name&) {
          ibv_dereg_mr(peer.mr);
          peer.mr = register_file(peer, seals);
        },
        [&](Endpoint& mine, const Name&, Child&) {
          viaduct_qp_path path = explain(mine.qp);
          EXPECT_EQ(path.path, uint32_t(seals ? VIADUCT_PATH_DIRECT : VIADUCT_PATH_COPY));
          EXPECT_EQ(path.reason,
                    uint32_t(seals ? VIADUCT_REASON_SHARED_FILE : VIADUCT_REASON_FILE_MAY_SHRINK));
        });
  }
}

TEST(Explain, a_peer_that_ended_is_gone) {
  with_peer([](Endpoint&, Name&) {},
            [](Endpoint& mine, const Name&, Child& child) {
              kill(child.pid, SIGKILL);
              child.finish();
              child.pid = 0;
              viaduct_qp_path path = explain(mine.qp);
              for (int i = 0; i < 1000 && path.reason != VIADUCT_REASON_PEER_GONE; ++i) {
                usleep(1000);
                path = explain(mine.qp);
              }
              EXPECT_EQ(path.path, uint32_t(VIADUCT_PATH_NONE));
              EXPECT_EQ(path.reason, uint32_t(VIADUCT_REASON_PEER_GONE));
            });
}

TEST(Explain, an_older_program_gets_what_it_knows_and_a_destroyed_queue_pair_is_refused) {
  Pair pair;
  viaduct_qp_path path{};
  path.size = 4;
  EXPECT_EQ(viaduct_explain_qp(pair.a.qp, &path), EINVAL);
  path.size = offsetof(viaduct_qp_path, peer_pid);
  path.peer_pid = -7;
  EXPECT_EQ(viaduct_explain_qp(pair.a.qp, &path), 0);
  EXPECT_EQ(path.path, uint32_t(VIADUCT_PATH_LOOPBACK));
  EXPECT_EQ(path.peer_pid, -7);
  ibv_qp* destroyed;
  {
    Endpoint other;
    destroyed = other.qp;
  }
  EXPECT_EQ(viaduct_explain_qp(destroyed, &path), EINVAL);
}
