// The link within an aperture: between processes, full, with a peer that died or that lies.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <random>
#include <thread>

#include "softhca/links/aperture.h"
#include "softhca/links/faults.h"
#include "softhca/tests/child.h"
#include "softhca/tests/transport_model.h"

namespace softhca::links {
namespace {

using test::End;

constexpr uint32_t number = 0x11, key = 0x100;
constexpr uint64_t base = 0x10000, memory_bytes = 1 << 21;

wire::Gid gid(uint8_t host) { return wire::ipv4_gid({10, 0, 0, host}); }
uint64_t now_ns() { return uint64_t(std::chrono::steady_clock::now().time_since_epoch().count()); }

class ApertureLink : public testing::Test {
 protected:
  explicit ApertureLink(ApertureLayout chosen = {.participants = 3, .slots = 64}) : layout(chosen) {
    const size_t bytes = Aperture::bytes_for(layout);
    void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) abort();
    memory = {static_cast<std::byte*>(mapped), bytes};
    EXPECT_TRUE(Aperture::format(memory, layout));
  }
  ~ApertureLink() override { munmap(memory.data(), memory.size()); }

  std::unique_ptr<Aperture> attach(uint32_t participant) {
    std::string problem;
    auto link = Aperture::attach(memory, participant, gid(uint8_t(participant + 1)), &problem);
    EXPECT_TRUE(link) << problem;
    return link;
  }
  static Route route(uint32_t from, uint32_t to) {
    Route way;
    way.source = gid(uint8_t(from + 1));
    way.destination = gid(uint8_t(to + 1));
    return way;
  }
  static bool send(Aperture& link, const Route& way, uint8_t value, size_t bytes = 100) {
    uint8_t* to = link.reserve(way, bytes);
    if (!to) return false;
    memset(to, value, bytes);
    link.send();
    return true;
  }
  // The first bytes of what came.
  static std::vector<uint8_t> take(Aperture& link, uint64_t now = 0) {
    std::vector<uint8_t> values;
    Datagram arrived[16];
    while (const size_t count = link.receive(arrived, now)) {
      for (const Datagram& one : std::span(arrived).first(count)) values.push_back(one.bytes[0]);
    }
    return values;
  }

  ApertureLayout layout;
  std::span<std::byte> memory;
};

TEST_F(ApertureLink, BringsPacketsWithTheirRouteToTheirDestinationAlone) {
  const auto a = attach(0), b = attach(1), c = attach(2);
  Route way = route(0, 1);
  way.traffic_class = 0x48;
  way.hop_limit = 9;
  way.flow_label = 0x12345;
  way.source_port = 0xc123;
  ASSERT_TRUE(send(*a, way, 7, 33));
  Datagram arrived[4];
  EXPECT_EQ(b->receive(arrived, 0), 0U) << "before flush()";
  a->flush(0);
  ASSERT_EQ(b->receive(arrived, 0), 1U);
  EXPECT_EQ(arrived[0].bytes.size(), 33U);
  EXPECT_EQ(arrived[0].bytes[32], 7);
  EXPECT_EQ(arrived[0].identification, 0);
  EXPECT_EQ(arrived[0].route.source, way.source);
  EXPECT_EQ(arrived[0].route.destination, way.destination);
  EXPECT_EQ(arrived[0].route.traffic_class, way.traffic_class);
  EXPECT_EQ(arrived[0].route.hop_limit, way.hop_limit);
  EXPECT_EQ(arrived[0].route.flow_label, way.flow_label);
  EXPECT_EQ(arrived[0].route.source_port, way.source_port);
  EXPECT_TRUE(take(*c).empty());
  ASSERT_TRUE(send(*a, route(0, 9), 1));  // nobody's address
  ASSERT_TRUE(send(*a, route(1, 2), 1));  // not its own
  a->flush(0);
  EXPECT_TRUE(take(*c).empty());
  EXPECT_EQ(a->counts().unknown, 2U);
}

TEST_F(ApertureLink, BringsPacketsToAGroupToAll) {
  const auto a = attach(0), b = attach(1), c = attach(2);
  Route way = route(0, 1);
  way.destination = wire::ipv4_gid({239, 1, 2, 3});
  ASSERT_TRUE(send(*a, way, 5));
  a->flush(0);
  for (Aperture* link : {a.get(), b.get(), c.get()}) {
    Datagram arrived[2];
    ASSERT_EQ(link->receive(arrived, 0), 1U);
    EXPECT_EQ(arrived[0].route.destination, way.destination);
  }
}

TEST_F(ApertureLink, HasNoRoomWhileARingIsFullAndSomeAgainWhenPacketsWereTaken) {
  const auto a = attach(0), b = attach(1), c = attach(2);
  for (int round = 0; round < 3; ++round) {
    for (uint32_t i = 0; i < layout.slots; ++i) ASSERT_TRUE(send(*a, route(0, 1), uint8_t(i)));
    EXPECT_FALSE(send(*a, route(0, 1), 99));
    EXPECT_TRUE(send(*a, route(0, 2), 98)) << "another's ring is another's";
    Datagram arrived[10];
    ASSERT_EQ(b->receive(arrived, 0), 10U);
    EXPECT_FALSE(send(*a, route(0, 1), 99)) << "what receive() gave out is valid until the next";
    EXPECT_EQ(take(*b).size(), layout.slots - 10);
    EXPECT_TRUE(send(*a, route(0, 1), 97));
    a->flush(0);
    EXPECT_EQ(take(*b), std::vector<uint8_t>{97});
  }
  EXPECT_EQ(a->counts().stalled, 0U);
}

TEST_F(ApertureLink, DropsPacketsToAPeerThatDiedAndServesItsSuccessor) {
  const auto a = attach(0), c = attach(2);
  {
    Child child([&](int, int to_parent) {
      const auto b = attach(1);
      put(to_parent, true);
      while (take(*b).empty()) sched_yield();
      raise(SIGKILL);
    });
    ASSERT_TRUE(get<bool>(child.from));
    ASSERT_TRUE(send(*a, route(0, 1), 1));
    a->flush(0);
    ASSERT_TRUE(WIFSIGNALED(child.finish()));
  }
  uint64_t now = 1;
  a->flush(now);
  while (send(*a, route(0, 1), 2)) {
  }
  now += Aperture::patience_ns - 1;
  a->flush(now);
  EXPECT_FALSE(send(*a, route(0, 1), 3)) << "it may only be slow";
  a->flush(++now);
  EXPECT_TRUE(send(*a, route(0, 1), 3));
  EXPECT_GT(a->counts().stalled, 0U);
  ASSERT_TRUE(send(*a, route(0, 2), 4)) << "others are served all the while";
  a->flush(now);
  EXPECT_EQ(take(*c), std::vector<uint8_t>{4});
  const auto successor = attach(1);
  EXPECT_TRUE(take(*successor).empty()) << "what was on its way to the one before";
  ASSERT_TRUE(send(*a, route(0, 1), 5));
  a->flush(now);
  EXPECT_EQ(take(*successor), std::vector<uint8_t>{5});
  ASSERT_TRUE(send(*successor, route(1, 0), 6));
  successor->flush(now);
  EXPECT_EQ(take(*a), std::vector<uint8_t>{6});
}

// All that a peer can write, at random; what is received stays within the slots.
TEST_F(ApertureLink, BelievesNothingThatAPeerWrites) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  uint64_t malformed = 0;
  for (int round = 0; round < 300; ++round) {
    ASSERT_TRUE(Aperture::format(memory, layout));
    const auto a = attach(0), b = attach(1);
    for (uint32_t i = 0; i < 1 + random() % layout.slots; ++i) send(*b, route(1, 0), 1);
    b->flush(0);
    std::array<std::byte, 4> owner;
    std::copy_n(memory.begin() + 64, owner.size(), owner.begin());
    // Words of the header are read once, when it is attached.
    for (int changes = 0; changes < 200; ++changes) {
      const size_t at = 64 + random() % 4 * 64 + random() % 64;
      memory[at % memory.size()] = std::byte(random());
      memory[64 + random() % (memory.size() - 64)] = std::byte(random());
    }
    // Who loses its place takes nothing any more; most are to keep theirs.
    if (round % 8 != 0) std::copy(owner.begin(), owner.end(), memory.begin() + 64);
    const std::byte *first = memory.data(), *last = first + memory.size();
    Datagram arrived[16];
    for (int turn = 0; turn < 10; ++turn) {
      const size_t count = a->receive(arrived, 0);
      for (const Datagram& one : std::span(arrived).first(count)) {
        const auto* begin = reinterpret_cast<const std::byte*>(one.bytes.data());
        ASSERT_TRUE(begin >= first && begin + one.bytes.size() <= last);
      }
      send(*a, route(0, 1), 2);
      a->flush(uint64_t(turn) * Aperture::patience_ns);
    }
    malformed += a->counts().malformed;
  }
  EXPECT_GT(malformed, 0U);
}

TEST_F(ApertureLink, SaysWhyItCannotAttach) {
  std::string problem;
  EXPECT_FALSE(Aperture::attach(memory, 3, gid(9), &problem));
  EXPECT_NE(problem.find("for 3 participants"), std::string::npos) << problem;
  EXPECT_FALSE(Aperture::attach(memory.first(memory.size() - 1), 0, gid(9), &problem));
  EXPECT_NE(problem.find("don't fit"), std::string::npos) << problem;
  memory[7] = std::byte(0);
  EXPECT_FALSE(Aperture::attach(memory, 0, gid(9), &problem));
  EXPECT_NE(problem.find("no rings of packets"), std::string::npos) << problem;
  EXPECT_FALSE(Aperture::format(memory.first(100), layout));
  EXPECT_FALSE(Aperture::format(memory, {.participants = 2, .slots = 3}));
}

// Memory of zeros, as a new file has it.
class FreshAperture : public testing::Test {
 protected:
  FreshAperture() {
    void* mapped =
        mmap(nullptr, sizes[1], PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) abort();
    memory = {static_cast<std::byte*>(mapped), sizes[1]};
  }
  ~FreshAperture() override { munmap(memory.data(), memory.size()); }

  std::unique_ptr<Aperture> join(size_t bytes) {
    problem.clear();
    return Aperture::join(memory.first(bytes), &problem);
  }

  // For two participants, and for four.
  static inline const size_t sizes[] = {Aperture::bytes_for({2, 32}), Aperture::bytes_for({4, 32})};
  std::span<std::byte> memory;
  std::string problem;
};

TEST_F(FreshAperture, IsLaidOutByWhoComesFirstAndEachHasAnAddress) {
  const auto a = join(sizes[1]), b = join(sizes[1]);
  ASSERT_TRUE(a && b) << problem;
  EXPECT_NE(a->address(), b->address());
  EXPECT_TRUE(a->is_near(b->address()));
  EXPECT_FALSE(a->is_near(gid(1)));
  Route way;
  way.source = a->address();
  way.destination = b->address();
  uint8_t* to = a->reserve(way, 8);
  ASSERT_TRUE(to);
  memset(to, 3, 8);
  a->send();
  a->flush(1);
  Datagram arrived[2];
  ASSERT_EQ(b->receive(arrived, 1), 1U);
  EXPECT_EQ(arrived[0].route.source, a->address());
}

TEST_F(FreshAperture, IsTooSmallOrOfSomethingElse) {
  EXPECT_FALSE(join(sizes[0] - 1));
  EXPECT_NE(problem.find("for two participants"), std::string::npos) << problem;
  memory[0] = std::byte(1);
  EXPECT_FALSE(join(sizes[0]));
  EXPECT_NE(problem.find("no rings of packets"), std::string::npos) << problem;
}

TEST_F(FreshAperture, GivesAPlaceAgainUnderAnotherAddress) {
  auto a = join(sizes[0]);
  const auto b = join(sizes[0]);
  ASSERT_TRUE(a && b);
  const wire::Gid before = a->address();
  EXPECT_TRUE(b->is_there(before));
  a.reset();
  EXPECT_FALSE(b->is_there(before));
  a = join(sizes[0]);
  ASSERT_TRUE(a) << problem;
  EXPECT_NE(a->address(), before);
  EXPECT_FALSE(b->is_there(before)) << "what was meant for the one before reaches nobody";
}

// Waits for Aperture::silence_ns, twice.
TEST_F(FreshAperture, GivesThePlaceOfWhoBeatsNoMoreToAnotherOnceAllAreTaken) {
  const auto a = join(sizes[0]), b = join(sizes[0]);
  ASSERT_TRUE(a && b);
  std::atomic<bool> ends{false};
  std::thread beating([&] {
    Datagram arrived[1];
    while (!ends) {
      a->receive(arrived, now_ns());
      sched_yield();
    }
  });
  const auto c = join(sizes[0]);
  ASSERT_TRUE(c) << problem;
  EXPECT_TRUE(c->is_there(a->address()));
  EXPECT_FALSE(c->is_there(b->address()));
  std::thread also_beating([&] {
    Datagram arrived[1];
    while (!ends) {
      c->receive(arrived, now_ns());
      sched_yield();
    }
  });
  EXPECT_FALSE(join(sizes[0]));
  EXPECT_NE(problem.find("all 2 places"), std::string::npos) << problem;
  ends = true;
  beating.join();
  also_beating.join();
  Datagram arrived[1];
  EXPECT_EQ(b->receive(arrived, now_ns()), 0U) << "it has lost its place";
  EXPECT_FALSE(b->is_there(b->address()));
}

// Two engines in two processes: the child is b.
class ApertureEngines : public ApertureLink {
 protected:
  static void run(Link& link, bool is_a, const std::function<bool(End&)>& done) {
    End own(memory_bytes), unused(0);
    own.attach(&link);
    unused.attach();
    test::Connection connection;
    connection.a = gid(1);
    connection.b = gid(2);
    connection.receiving.mtu_bytes = 4096;
    connection.sending.timeout = 14;
    if (is_a) {
      test::connect(own, unused, connection);
    } else {
      test::connect(unused, own, connection);
    }
    own.device.add_region(key, base, memory_bytes, test::all_access);
    const uint64_t end = now_ns() + 60'000'000'000;
    while (!done(own) && now_ns() < end) {
      if (!own.turn(now_ns())) sched_yield();
    }
  }

  // Writes to the other process and reads back.
  void round_trip(const FaultRates& rates) {
    Child child([&](int from_parent, int to_parent) {
      const auto link = attach(1);
      Faults faults(*link, rates, 2);
      put(to_parent, true);
      fcntl(from_parent, F_SETFL, O_NONBLOCK);
      char byte;
      // Until the parent has closed its end.
      run(faults, false, [&](End&) { return read(from_parent, &byte, 1) == 0; });
    });
    ASSERT_TRUE(get<bool>(child.from));
    const auto link = attach(0);
    Faults faults(*link, rates, 1);
    constexpr uint64_t bytes = (1 << 20) - 3, upper = base + (1 << 20);
    bool begun = false;
    run(faults, true, [&](End& a) {
      auto& queues = a.device.of(number);
      if (!begun) {
        begun = true;
        for (uint64_t i = 0; i < memory_bytes / 2; i += 8) a.device.store_word(base + i, i * i);
        transport::SendWqe wqe;
        wqe.rkey = key;
        wqe.remote_address = base;
        wqe.bytes = bytes;
        wqe.opcode = IBV_WR_RDMA_WRITE;
        queues.sends.push_back({wqe, base});
        wqe.opcode = IBV_WR_RDMA_READ;
        queues.sends.push_back({wqe, upper});
        a.engine->wake(number);
      }
      if (queues.sent.size() < 2) return false;
      for (const auto& completion : queues.sent) EXPECT_EQ(completion.status, IBV_WC_SUCCESS);
      const auto sent = a.device.memory(base, bytes), back = a.device.memory(upper, bytes);
      EXPECT_TRUE(std::equal(sent.begin(), sent.end(), back.begin()));
      finished = true;
      return true;
    });
    EXPECT_TRUE(finished);
    close(child.to);
    child.to = dup(child.from);
    EXPECT_EQ(child.finish(), 0);
  }

  bool finished = false;
};

TEST_F(ApertureEngines, CarryRequestsBetweenTwoProcesses) { round_trip({}); }

TEST_F(ApertureEngines, CarryRequestsThroughLossAndReordering) {
  round_trip({.loss = 0.02, .duplication = 0.02, .delay = 0.05, .delay_ns = 100'000});
}

}  // namespace
}  // namespace softhca::links
