// The links: what goes in comes out, as it should and only there.
#include <gtest/gtest.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "softhca/links/faults.h"
#include "softhca/links/pcap.h"
#include "softhca/links/udp.h"
#include "softhca/tests/transport_model.h"
#include "softhca/wire/icrc.h"

namespace softhca::links {
namespace {

using test::End;

constexpr uint32_t number = 0x11, key = 0x100;
constexpr uint64_t base = 0x10000, memory_bytes = 1 << 21;

// A packet of that many bytes, with a right ICRC.
std::vector<uint8_t> make_packet(const Route& route, uint32_t qp, size_t payload) {
  transport::QueuePair queue_pair;
  wire::Packet packet;
  packet.bth.opcode = wire::op_send_only;
  packet.bth.pkey = 0xffff;
  packet.bth.dest_qp = qp;
  packet.bth.pad = wire::pad_for(payload);
  std::vector<uint8_t> bytes(wire::packet_length(packet.bth.opcode, payload), uint8_t(qp));
  wire::emit_headers(packet, bytes.data());
  const auto covered = std::span<const uint8_t>(bytes).first(bytes.size() - wire::icrc_length);
  wire::store_icrc(bytes.data() + covered.size(), wire::icrc(route, covered));
  return bytes;
}

void send(Link& link, const Route& route, const std::vector<uint8_t>& bytes) {
  uint8_t* to = link.reserve(route, bytes.size());
  ASSERT_NE(to, nullptr);
  memcpy(to, bytes.data(), bytes.size());
  link.send();
}

Route some_route() {
  Route route;
  route.source = wire::ipv4_gid({10, 0, 0, 1});
  route.destination = wire::ipv4_gid({10, 0, 0, 2});
  return route;
}

TEST(FaultsLink, DoesTheSameForTheSameSeed) {
  const auto outcome = [](uint64_t seed) {
    test::Pipe pipe;
    Faults faults(
        pipe, {.loss = 0.2, .duplication = 0.2, .corruption = 0.2, .delay = 0.3, .delay_ns = 1000},
        seed);
    std::vector<std::vector<uint8_t>> out;
    for (uint32_t i = 0; i < 200; ++i) {
      send(faults, some_route(), make_packet(some_route(), i, 32));
      test::Pipe other;
      pipe.connect(other);
      faults.flush(i * 100);
      Datagram arrived[64];
      const size_t count = other.receive(arrived, 0);
      for (size_t k = 0; k < count; ++k)
        out.emplace_back(arrived[k].bytes.begin(), arrived[k].bytes.end());
    }
    EXPECT_GT(faults.counts().lost, 0U);
    return out;
  };
  EXPECT_EQ(outcome(7), outcome(7));
  EXPECT_NE(outcome(7), outcome(8));
}

struct TemporaryFile {
  std::string path = (std::filesystem::temp_directory_path() / "viaduct-pcap-XXXXXX").string();
  TemporaryFile() { close(mkstemp(path.data())); }
  ~TemporaryFile() { std::filesystem::remove(path); }
};

TEST(PcapLink, WritesPacketsWithTheirHeadersTimeAndDirection) {
  const TemporaryFile file;
  Route route = some_route();
  const auto bytes = make_packet(route, 0x21, 33);
  {
    test::Pipe pipe, peer;
    peer.connect(pipe);
    const auto pcap = Pcap::open(pipe, file.path);
    ASSERT_TRUE(pcap);
    pcap->flush(0x100000002);
    send(*pcap, route, bytes);
    send(peer, route, bytes);
    peer.flush(0);
    Datagram arrived[2];
    EXPECT_EQ(pcap->receive(arrived, 0x100000003), 1U);
    pcap->flush(0);
    EXPECT_TRUE(pcap->whole());
  }
  std::ifstream stream(file.path, std::ios::binary);
  const std::vector<char> text((std::istreambuf_iterator<char>(stream)), {});
  const auto word = [&](size_t at) {
    uint32_t value;
    memcpy(&value, &text.at(at), sizeof value);
    return value;
  };
  std::vector<size_t> blocks;
  for (size_t at = 0; at < text.size(); at += word(at + 4)) {
    blocks.push_back(at);
    ASSERT_EQ(word(at + word(at + 4) - 4), word(at + 4)) << "both lengths of a block";
  }
  ASSERT_EQ(blocks.size(), 4U);
  constexpr size_t headers = 28;
  for (const size_t i : {2, 3}) {
    EXPECT_EQ(word(blocks[i]), 6U);
    EXPECT_EQ(word(blocks[i] + 12), 1U);
    EXPECT_EQ(word(blocks[i] + 16), i);
    EXPECT_EQ(word(blocks[i] + 20), headers + bytes.size());
    EXPECT_EQ(memcmp(&text[blocks[i] + 28 + headers], bytes.data(), bytes.size()), 0);
    EXPECT_EQ(word(blocks[i] + word(blocks[i] + 4) - 12), i == 2 ? 2U : 1U);
  }
}

TEST(PcapLink, WritesWhatWiresharkTakesForRoce) {
  if (system("command -v tshark >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "tshark is not installed (Debian: tshark)";
  const TemporaryFile file;
  Route ipv6;
  ipv6.source[0] = ipv6.destination[0] = 0xfd;
  ipv6.destination[15] = 1;
  {
    test::Pipe pipe;
    const auto pcap = Pcap::open(pipe, file.path);
    for (const Route& route : {some_route(), ipv6})
      send(*pcap, route, make_packet(route, 0x1234, 33));
    pcap->flush(0);
  }
  const std::string command = "tshark -r " + file.path +
                              " -T fields -e infiniband.bth.opcode -e infiniband.bth.destqp"
                              " -e infiniband.invariant.crc 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> output(popen(command.c_str(), "r"), pclose);
  char line[200];
  for (const Route& route : {some_route(), ipv6}) {
    ASSERT_TRUE(fgets(line, sizeof line, output.get()));
    const auto bytes = make_packet(route, 0x1234, 33);
    char expected[200];
    // Wireshark reads the ICRC as a number in network order.
    snprintf(expected, sizeof expected, "4\t0x001234\t0x%08x\n",
             wire::load_be32(&bytes[bytes.size() - 4]));
    EXPECT_STREQ(line, expected);
  }
}

// A network of its own, with addresses 127.0.0.x and fd00::1 to 3.
class UdpLink : public testing::Test {
 protected:
  void SetUp() override {
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
      GTEST_SKIP() << "no network namespace can be made here: " << strerror(errno);
    const int control = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    strcpy(request.ifr_name, "lo");
    ASSERT_EQ(ioctl(control, SIOCGIFFLAGS, &request), 0);
    request.ifr_flags |= IFF_UP | IFF_MULTICAST;
    ASSERT_EQ(ioctl(control, SIOCSIFFLAGS, &request), 0);
    for (const uint8_t host : {1, 2, 3}) {
      in6_ifreq address{};
      address.ifr6_addr.s6_addr[0] = 0xfd;
      address.ifr6_addr.s6_addr[15] = host;
      address.ifr6_prefixlen = 64;
      address.ifr6_ifindex = int(if_nametoindex("lo"));
      ASSERT_EQ(ioctl(control, SIOCSIFADDR, &address), 0) << strerror(errno);
      wait_for(address.ifr6_addr);
    }
    close(control);
  }

  // The kernel looks first whether another host has it, even here.
  static void wait_for(const in6_addr& address) {
    const int probe = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in6 name{};
    name.sin6_family = AF_INET6;
    name.sin6_addr = address;
    const uint64_t end = now_ns() + 20'000'000'000;
    while (bind(probe, reinterpret_cast<sockaddr*>(&name), sizeof name) != 0 && now_ns() < end)
      usleep(1000);
    close(probe);
  }

  static wire::Gid gid(uint8_t host, bool ipv6) {
    if (!ipv6) return wire::ipv4_gid({127, 0, 0, host});
    return {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host};
  }
  static std::unique_ptr<Udp> open(uint8_t host, bool ipv6, bool shared = false) {
    std::string problem;
    UdpOptions options;
    options.address = gid(host, ipv6);
    options.shared = shared;
    auto link = Udp::open(options, &problem);
    EXPECT_TRUE(link) << problem;
    return link;
  }
  static uint64_t now_ns() {
    return uint64_t(std::chrono::steady_clock::now().time_since_epoch().count());
  }

  static void reach_group(bool ipv6) {
    const auto address = [&](uint8_t host) {
      wire::Gid all = gid(host, ipv6);
      if (ipv6) all[1] = 1;
      return all;
    };
    const auto open_at = [&](uint8_t host) {
      UdpOptions options;
      options.address = address(host);
      std::string problem;
      auto link = Udp::open(options, &problem);
      EXPECT_TRUE(link) << problem;
      return link;
    };
    const auto sender = open_at(1), member = open_at(2), other = open_at(3);
    ASSERT_TRUE(sender && member && other);
    const wire::Gid group =
        ipv6 ? wire::Gid{0xff, 0x02, 0, 0, 0, 7} : wire::ipv4_gid({239, 1, 2, 3});
    std::string problem;
    for (Udp* link : {sender.get(), member.get()}) {
      ASSERT_TRUE(link->join(group, &problem)) << problem;
      ASSERT_TRUE(link->join(group, &problem));
    }
    Route route;
    route.source = address(1);
    route.destination = group;
    route.source_port = Udp::source_port;
    route.hop_limit = 3;
    const auto sent = make_packet(route, wire::multicast_qp, 100);
    send(*sender, route, sent);
    sender->flush(0);
    ASSERT_EQ(sender->counts().refused, 0U) << strerror(sender->counts().last_error);
    const auto came = [](Udp& link) {
      pollfd waiting{link.group_descriptor(), POLLIN, 0};
      return poll(&waiting, 1, 20'000) == 1;
    };
    for (Udp* link : {sender.get(), member.get()}) {
      ASSERT_TRUE(came(*link));
      Datagram arrived[2];
      ASSERT_EQ(link->receive(arrived, 0), 1U);
      EXPECT_EQ(arrived[0].route.source, route.source);
      EXPECT_EQ(arrived[0].route.destination, group);
      EXPECT_EQ(arrived[0].route.hop_limit, 3);
      EXPECT_TRUE(wire::verify_icrc(arrived[0].route, arrived[0].bytes, arrived[0].identification));
    }
    member->leave(group);
    send(*sender, route, sent);
    sender->flush(0);
    ASSERT_TRUE(came(*sender));
    Datagram arrived[1];
    EXPECT_EQ(member->receive(arrived, 0), 0U);
    EXPECT_EQ(other->receive(arrived, 0), 0U);
    EXPECT_FALSE(member->join(address(1), &problem));
    EXPECT_NE(problem.find("no multicast address"), std::string::npos) << problem;
  }

  // Writes, sends and reads between two engines, over links that lead to each other.
  static void transfer(Link& link_a, Link& link_b, bool ipv6) {
    End a(memory_bytes), b(memory_bytes);
    a.attach(&link_a);
    b.attach(&link_b);
    test::Connection connection;
    connection.a = gid(1, ipv6);
    connection.b = gid(2, ipv6);
    connection.source_port = Udp::source_port;
    connection.receiving.mtu_bytes = 4096;
    connection.sending.timeout = 14;
    test::connect(a, b, connection);
    b.device.add_region(key, base, memory_bytes, test::all_access);
    for (uint64_t i = 0; i < memory_bytes; i += 8) a.device.store_word(base + i, i * i);
    constexpr uint64_t bytes = (1 << 20) - 3, upper = base + (1 << 20);
    auto& queues = a.device.of(number);
    transport::SendWqe wqe;
    wqe.rkey = key;
    wqe.remote_address = base;
    wqe.bytes = bytes;
    wqe.opcode = IBV_WR_RDMA_WRITE;
    queues.sends.push_back({wqe, base});
    wqe.opcode = IBV_WR_RDMA_READ;
    queues.sends.push_back({wqe, upper});
    wqe.opcode = IBV_WR_SEND;
    wqe.bytes = 5000;
    b.device.of(number).receives.push_back({upper, 5000});
    queues.sends.push_back({wqe, base});
    a.engine->wake(number);
    const uint64_t end = now_ns() + 60'000'000'000;
    while (queues.sent.size() < 3 && now_ns() < end) {
      const uint64_t now = now_ns();
      const bool moved = a.turn(now) | b.turn(now);
      if (!moved) sched_yield();
    }
    ASSERT_EQ(queues.sent.size(), 3U);
    for (const auto& completion : queues.sent) ASSERT_EQ(completion.status, IBV_WC_SUCCESS);
    const auto same = [&](uint64_t from, End& in, uint64_t to, uint64_t count) {
      const auto ours = a.device.memory(from, count), theirs = in.device.memory(to, count);
      return std::equal(ours.begin(), ours.end(), theirs.begin());
    };
    EXPECT_TRUE(same(base, b, base, bytes));
    EXPECT_TRUE(same(base, a, upper, bytes));
    EXPECT_TRUE(same(base, b, upper, 5000));
    EXPECT_EQ(b.engine->counters()[transport::Counter::dropped_icrc], 0U);
  }
};

TEST_F(UdpLink, CarriesTheEngineOverIpv4) {
  const auto a = open(1, false), b = open(2, false);
  ASSERT_TRUE(a && b);
  transfer(*a, *b, false);
}

TEST_F(UdpLink, CarriesTheEngineOverIpv6) {
  const auto a = open(1, true), b = open(2, true);
  ASSERT_TRUE(a && b);
  transfer(*a, *b, true);
}

TEST_F(UdpLink, CarriesTheEngineThroughLossAndReordering) {
  const auto a = open(1, false), b = open(2, false);
  ASSERT_TRUE(a && b);
  const FaultRates rates{.loss = 0.02, .duplication = 0.02, .delay = 0.05, .delay_ns = 100'000};
  Faults from_a(*a, rates, 1), from_b(*b, rates, 2);
  transfer(from_a, from_b, false);
  EXPECT_GT(from_a.counts().lost, 0U);
}

TEST_F(UdpLink, TakesBatchesApartAgain) {
  const auto a = open(1, false), b = open(2, false);
  ASSERT_TRUE(a && b);
  Route route;
  route.source = gid(1, false);
  route.destination = gid(2, false);
  route.source_port = Udp::source_port;
  route.traffic_class = 0x48;
  // Full ones, a smaller one that ends the batch, and a larger one after it.
  std::vector<size_t> payloads(20, 1024);
  payloads.insert(payloads.end(), {100, 1024, 0});
  for (uint32_t i = 0; i < payloads.size(); ++i)
    send(*a, route, make_packet(route, i, payloads[i]));
  a->flush(0);
  size_t got = 0;
  const uint64_t end = now_ns() + 20'000'000'000;
  while (got < payloads.size() && now_ns() < end) {
    Datagram arrived[7];
    const size_t count = b->receive(arrived, 0);
    for (const Datagram& datagram : std::span(arrived).first(count)) {
      wire::Packet packet;
      ASSERT_EQ(wire::parse(datagram.bytes, &packet), wire::Parsed::ok);
      EXPECT_EQ(packet.bth.dest_qp, got);
      ASSERT_EQ(packet.payload.size(), payloads[got]);
      EXPECT_EQ(datagram.route.source, route.source);
      EXPECT_EQ(datagram.route.destination, route.destination);
      EXPECT_EQ(datagram.route.traffic_class, route.traffic_class);
      EXPECT_EQ(datagram.route.source_port, Udp::source_port);
      EXPECT_TRUE(wire::verify_icrc(datagram.route, datagram.bytes, datagram.identification));
      ++got;
    }
  }
  EXPECT_EQ(got, payloads.size());
  // Twenty with the smaller one, a large one, and one without payload.
  EXPECT_EQ(a->counts().packets_out, payloads.size());
  EXPECT_EQ(a->counts().calls_out, 2U);
  EXPECT_EQ(b->counts().packets_in, payloads.size());
  EXPECT_EQ(b->counts().pieces_in, 2U);
}

TEST_F(UdpLink, SteersByQueuePairBetweenSocketsOfOneAddress) {
  const auto first = open(2, false, true), second = open(2, false, true), sender = open(1, false);
  ASSERT_TRUE(first && second && sender);
  const Steering rules[] = {{0x4000, 0x7fff, 1}, {0x8000, 0xbfff, 0}};
  ASSERT_TRUE(steer_by_queue_pair(first->descriptor(), rules)) << strerror(errno);
  Route route;
  route.source = gid(1, false);
  route.destination = gid(2, false);
  route.source_port = Udp::source_port;
  const std::pair<uint32_t, Udp*> expected[] = {{0x4000, second.get()}, {0x7fff, second.get()},
                                                {0x8000, first.get()},  {0xbfff, first.get()},
                                                {0x3fff, first.get()},  {0xc000, first.get()}};
  for (const auto& [qp, link] : expected) {
    send(*sender, route, make_packet(route, qp, 8));
    sender->flush(0);
    Datagram arrived[1];
    size_t count = 0;
    const uint64_t end = now_ns() + 20'000'000'000;
    while (count == 0 && now_ns() < end) count = link->receive(arrived, 0);
    ASSERT_EQ(count, 1U) << std::hex << qp;
    EXPECT_EQ(wire::Bth::parse(arrived[0].bytes.data()).dest_qp, qp);
  }
}

TEST_F(UdpLink, BringsPacketsToAnIpv4GroupToAllThatJoinedIt) { reach_group(false); }

TEST_F(UdpLink, BringsPacketsToAnIpv6GroupToAllThatJoinedIt) {
  // The loopback interface has no IPv6 groups.
  if (system("ip link add veth0 type veth peer name veth1 && ip link set veth0 up &&"
             " ip link set veth1 up && ip address add fd01::1/64 dev veth0 nodad &&"
             " ip address add fd01::2/64 dev veth0 nodad &&"
             " ip address add fd01::3/64 dev veth0 nodad") != 0)
    GTEST_SKIP() << "no pair of interfaces can be made here (Debian: iproute2)";
  reach_group(true);
}

TEST_F(UdpLink, SaysWhoMayHaveThePortAndWhichAddressesThereAre) {
  const auto first = open(1, false);
  UdpOptions options;
  options.address = gid(1, false);
  std::string problem;
  EXPECT_FALSE(Udp::open(options, &problem));
  EXPECT_NE(problem.find("4791 of 127.0.0.1"), std::string::npos) << problem;
  EXPECT_NE(problem.find("Soft-RoCE"), std::string::npos) << problem;
  options.address = wire::ipv4_gid({192, 0, 2, 1});
  EXPECT_FALSE(Udp::open(options, &problem));
  EXPECT_NE(problem.find("give an address of this host"), std::string::npos) << problem;
}

TEST_F(UdpLink, CountsWhatTheKernelRefusesToSend) {
  const auto link = open(1, false);
  ASSERT_TRUE(link);
  Route route;
  route.source = gid(1, false);
  route.source_port = Udp::source_port;
  route.destination = wire::ipv4_gid({192, 0, 2, 1});  // no route
  send(*link, route, make_packet(route, 1, 8));
  link->flush(0);
  EXPECT_EQ(link->counts().refused, 1U);
  EXPECT_NE(link->counts().last_error, 0);
  route.source = gid(9, false);  // not this link's
  send(*link, route, make_packet(route, 1, 8));
  EXPECT_EQ(link->counts().refused, 2U);
}

}  // namespace
}  // namespace softhca::links
