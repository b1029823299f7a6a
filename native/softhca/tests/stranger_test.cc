// Packets of strangers: sent by a plain UDP socket to a device that has connections, they change
// nothing, and each is counted under the reason for which it was dropped.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "fabric.h"
#include "softhca/extensions.h"
#include "softhca/wire/icrc.h"
#include "softhca/wire/packet.h"
#include "softhca/wire/udp.h"

namespace {

using namespace softhca;
using Counts = std::map<std::string, uint64_t>;

Counts counted(ibv_context* context) {
  viaduct_packet_counters all[16];
  const uint32_t count = viaduct_query_counters(context, all, 16);
  Counts counts;
  for (uint32_t i = 0; i < count && i < 16; ++i) {
    if (all[i].pid != getpid()) continue;
    for (uint32_t at = 0; viaduct_counter_name(at); ++at)
      counts[viaduct_counter_name(at)] = all[i].values[at];
  }
  return counts;
}

// Of what says that something was dropped, refused or answered for nothing.
Counts grown(const Counts& before, const Counts& now) {
  Counts more;
  for (const auto& [name, count] : now) {
    const bool tells = name.starts_with("dropped_") || name == "duplicate_requests" ||
                       name == "packets_for_nobody" || name == "error_naks_sent" ||
                       name == "congestion_notifications";
    if (tells && count != before.at(name)) more[name] = count - before.at(name);
  }
  return more;
}

struct Forged {
  wire::Packet packet{};
  uint8_t from = 1;  // 127.0.0.N
  std::function<void(std::vector<uint8_t>&)> change;
  std::vector<uint8_t> payload = std::vector<uint8_t>(8, 0xee);
};

void send_forged(const Forged& forged) {
  wire::Packet packet = forged.packet;
  std::vector<uint8_t> bytes(wire::packet_length(packet.bth.opcode, forged.payload.size()));
  uint8_t* to = wire::emit_headers(packet, bytes.data());
  memcpy(to, forged.payload.data(), forged.payload.size());
  wire::Route route;
  route.source = wire::ipv4_gid({127, 0, 0, forged.from});
  route.destination = wire::ipv4_gid({127, 0, 0, 1});
  route.source_port = 50000;
  const size_t covered = bytes.size() - wire::icrc_length;
  wire::store_icrc(bytes.data() + covered, wire::icrc(route, std::span(bytes).first(covered)));
  if (forged.change) forged.change(bytes);

  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int whole = IP_PMTUDISC_DO, on = 1;
  setsockopt(descriptor, IPPROTO_IP, IP_MTU_DISCOVER, &whole, sizeof whole);
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(route.source_port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + forged.from - 1U);
  ASSERT_EQ(bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address), 0)
      << strerror(errno);
  address.sin_port = htons(wire::roce_port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(sendto(descriptor, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&address),
                   sizeof address),
            ssize_t(bytes.size()));
  close(descriptor);
}

class Strangers : public testing::Test {
 protected:
  // What `b` would carry out if it came from `a`.
  Forged write_to(const Endpoint& endpoint, wire::Service service = wire::Service::rc) const {
    Forged forged;
    wire::Packet& packet = forged.packet;
    packet.bth.opcode = wire::make_opcode(service, wire::op_write_only);
    packet.bth.pkey = 0xffff;
    packet.bth.dest_qp = endpoint.qp->qp_num;
    packet.bth.psn = psn_;
    packet.reth = {endpoint.name().address + 64, endpoint.name().rkey, 8};
    return forged;
  }
  Forged datagram_to(const Endpoint& endpoint) const {
    Forged forged;
    wire::Packet& packet = forged.packet;
    packet.bth.opcode = wire::make_opcode(wire::Service::ud, wire::op_send_only);
    packet.bth.pkey = 0xffff;
    packet.bth.dest_qp = endpoint.qp->qp_num;
    packet.deth = {test_qkey, 5};
    return forged;
  }

  // Sends it, and sees that these counters grow by one each, and nothing else changes.
  void expect(const char* what, const Forged& forged, const std::vector<std::string>& reasons) {
    SCOPED_TRACE(what);
    ibv_context* context = pair_.a.context;
    const Counts before = counted(context);
    const auto memory = std::vector{pair_.a.memory, pair_.b.memory, uc_.b.memory, ud_.b.memory};
    send_forged(forged);
    Counts expected;
    for (const std::string& reason : reasons) expected[reason] = 1;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (grown(before, counted(context)) != expected && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(grown(before, counted(context)), expected);
    EXPECT_EQ((std::vector{pair_.a.memory, pair_.b.memory, uc_.b.memory, ud_.b.memory}), memory);
    for (Endpoint* each : {&pair_.a, &pair_.b, &uc_.b, &ud_.b}) {
      EXPECT_TRUE(each->idle());
      ibv_qp_attr attr{};
      ibv_qp_init_attr init{};
      EXPECT_EQ(ibv_query_qp(each->qp, &attr, IBV_QP_STATE, &init), 0);
      EXPECT_EQ(attr.qp_state, IBV_QPS_RTS);
    }
  }

  // The next request of `a` is carried out: its sequence number is still the one expected.
  void write_as_ever() {
    ibv_send_wr wr = pair_.a.make(1, IBV_WR_RDMA_WRITE, 0, 8);
    wr.wr.rdma = {pair_.b.name().address + 128, pair_.b.name().rkey};
    ASSERT_EQ(pair_.a.post(wr), 0);
    ASSERT_EQ(pair_.a.wait().status, IBV_WC_SUCCESS);
    ++psn_;
  }

  Pair pair_;
  Pair uc_{{.type = IBV_QPT_UC}};
  Pair ud_{{.type = IBV_QPT_UD}};
  uint32_t psn_ = 0;  // that b expects
};

}  // namespace

TEST_F(Strangers, are_dropped_and_counted_by_what_is_wrong_and_change_nothing) {
  write_as_ever();
  const auto rc = [&](auto change) {
    Forged forged = write_to(pair_.b);
    change(forged);
    return forged;
  };
  expect("no such queue pair", rc([](Forged& f) { f.packet.bth.dest_qp ^= 0x2000; }),
         {"dropped_queue_pair"});
  expect("nobody's queue pair", rc([](Forged& f) { f.packet.bth.dest_qp ^= 0x200000; }),
         {"dropped_queue_pair", "packets_for_nobody"});
  expect("another partition", rc([](Forged& f) { f.packet.bth.pkey = 0x9234; }), {"dropped_pkey"});
  expect("another address", rc([](Forged& f) { f.from = 2; }), {"dropped_address"});
  expect("damaged",
         rc([](Forged& f) { f.change = [](auto& bytes) { bytes[wire::Bth::length + 20] ^= 4; }; }),
         {"dropped_icrc"});
  expect("of a service that the queue pair has not", write_to(pair_.b, wire::Service::uc),
         {"dropped_opcode"});
  expect("an opcode that nothing has",
         rc([](Forged& f) { f.change = [](auto& bytes) { bytes[0] = 0x5f; }; }),
         {"dropped_opcode"});
  expect("cut off within the BTH",
         rc([](Forged& f) { f.change = [](auto& bytes) { bytes.resize(wire::Bth::length - 2); }; }),
         {"dropped_short"});
  expect("cut off within the RETH",
         rc([](Forged& f) { f.change = [](auto& bytes) { bytes.resize(wire::Bth::length + 8); }; }),
         {"dropped_short"});
  expect("of another version", rc([](Forged& f) { f.packet.bth.version = 1; }),
         {"dropped_version"});
  expect("an answer to nothing", rc([](Forged& f) {
           f.packet.bth.opcode = wire::make_opcode(wire::Service::rc, wire::op_acknowledge);
           f.payload.clear();
         }),
         {"dropped_response"});
  write_as_ever();
  // The queue pair tells its peer, which has asked for nothing.
  expect("ahead of the sequence", rc([&](Forged& f) { f.packet.bth.psn = psn_ + 5; }),
         {"dropped_out_of_sequence", "dropped_response"});
  write_as_ever();
  expect("what was already done", rc([&](Forged& f) { f.packet.bth.psn = psn_ - 1; }),
         {"duplicate_requests", "dropped_response"});
  expect("a READ that was never asked for", rc([&](Forged& f) {
           f.packet.bth.opcode = wire::make_opcode(wire::Service::rc, wire::op_read_request);
           f.packet.bth.psn = psn_ - 1;
           f.packet.reth.bytes = 4096;
           f.payload.clear();
         }),
         {"duplicate_requests", "dropped_replay"});
  write_as_ever();
}

TEST_F(Strangers, of_unreliable_services_are_dropped_and_counted) {
  Forged with_wrong_key = write_to(uc_.b, wire::Service::uc);
  with_wrong_key.packet.reth.rkey ^= 0x100;
  expect("a UC write with a wrong key", with_wrong_key, {"dropped_refused"});
  Forged with_wrong_qkey = datagram_to(ud_.b);
  with_wrong_qkey.packet.deth.qkey ^= 1;
  expect("a wrong Q_Key", with_wrong_qkey, {"dropped_qkey"});
  expect("a datagram without a receive", datagram_to(ud_.b), {"dropped_no_receive"});
  ASSERT_EQ(ud_.b.post_recv(1, 0, 44), 0);
  expect("a datagram longer than its receive", datagram_to(ud_.b), {"dropped_refused"});
}

TEST_F(Strangers, that_speak_to_a_queue_pair_in_the_error_state_are_counted) {
  Pair broken;
  ASSERT_EQ(broken.b.modify_to_error(), 0);
  expect("to a queue pair in the error state", write_to(broken.b), {"dropped_state"});
}
