// Feeds the transport engine with sequences of packets from a peer that may say anything, while it
// has requests of its own in flight; checksums are made right, so that all of it is looked at. The
// model of the device ends the program if the engine breaks its promises.
#include <algorithm>
#include <cstring>

#include "softhca/tests/transport_model.h"
#include "softhca/wire/icrc.h"
#include "softhca/wire/packet.h"

namespace softhca {
namespace {

constexpr uint32_t number = 0x11, key = 0x100;
constexpr uint64_t base = 0x10000, memory_bytes = 1 << 16;
const wire::Gid group = wire::ipv4_gid({239, 1, 2, 3});

class Input {
 public:
  explicit Input(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  uint32_t number(size_t width) {
    uint32_t value = 0;
    for (; width > 0 && !bytes_.empty(); --width, bytes_ = bytes_.subspan(1))
      value = value << 8 | bytes_[0];
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
};

// Near what is expected: random 24-bit numbers would be dropped, all of them.
uint32_t psn_near(const transport::QueuePair& qp, bool response, Input& input) {
  const auto around = int8_t(input.number(1));
  const uint32_t center = response ? qp.requester.unanswered : qp.responder.expected;
  return (center + uint32_t(around / 8)) & wire::psn_mask;
}

void feed_packet(test::End& end, const transport::QueuePair& qp, Input& input, uint64_t now) {
  wire::Packet packet;
  packet.bth.opcode = uint8_t(input.number(1));
  // Another service's is dropped at once, all of them but for some.
  if (!packet.opcode().known())
    packet.bth.opcode = wire::make_opcode(qp.service, packet.bth.opcode & 0x1f);
  if (!packet.opcode().known()) return;
  const uint8_t flags = uint8_t(input.number(1));
  packet.bth.solicited = packet.bth.migration = flags & 1;
  packet.bth.ack_request = flags & 2;
  packet.bth.pkey = flags & 4 ? 0xffff : 0x7fff;
  packet.bth.dest_qp = number;
  packet.bth.psn = psn_near(qp, packet.opcode().is_response(), input);
  const uint64_t address = base + input.number(2);
  const uint32_t rkey = flags & 8 ? key : key + 1;
  packet.reth = {address, rkey, input.number(flags & 16 ? 4 : 2)};
  packet.atomic_eth = {address, rkey, 1, 2};
  packet.aeth = {uint8_t(input.number(1)), 0};
  packet.deth = {flags & 32 ? 0x1111U : 0x1112U, 5};
  packet.xrceth = {flags & 64 ? 0xffffffU : 5U};
  packet.ieth = {key};
  // Often of the only right size.
  const size_t payload = flags & 128 ? qp.mtu() : input.number(2) % 300;
  packet.bth.pad = wire::pad_for(payload);
  std::vector<uint8_t> bytes(wire::packet_length(packet.bth.opcode, payload));
  wire::emit_headers(packet, bytes.data());
  wire::Route route = qp.responder.attributes.route;
  std::swap(route.source, route.destination);
  if (qp.service == wire::Service::ud && flags & 16) {
    packet.bth.dest_qp = wire::multicast_qp;
    route.destination = group;
    wire::emit_headers(packet, bytes.data());
  }
  const auto covered = std::span<const uint8_t>(bytes).first(bytes.size() - wire::icrc_length);
  wire::store_icrc(bytes.data() + covered.size(), wire::icrc(route, covered));
  end.engine->receive({route, bytes, 0}, now);
}

}  // namespace
}  // namespace softhca

// The name is the fuzzing engine's.
// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace softhca;
  Input input({data, size});
  constexpr ibv_qp_type types[] = {IBV_QPT_RC, IBV_QPT_UC, IBV_QPT_UD, IBV_QPT_XRC_RECV};
  test::End a(memory_bytes), peer(0);
  a.attach();
  peer.attach();
  test::Connection connection;
  connection.type = types[input.number(1) % std::size(types)];
  connection.receiving.mtu_bytes = 256;
  connection.receiving.qkey = 0x1111;
  test::connect(a, peer, connection);
  a.device.add_region(key, base, memory_bytes, test::all_access);
  const transport::QueuePair& qp = *a.engine->find(number);
  a.engine->join(number, group);
  constexpr ibv_wr_opcode opcodes[] = {IBV_WR_SEND,
                                       IBV_WR_SEND_WITH_IMM,
                                       IBV_WR_RDMA_WRITE,
                                       IBV_WR_RDMA_WRITE_WITH_IMM,
                                       IBV_WR_RDMA_READ,
                                       IBV_WR_ATOMIC_CMP_AND_SWP,
                                       IBV_WR_ATOMIC_FETCH_AND_ADD,
                                       IBV_WR_SEND_WITH_INV,
                                       IBV_WR_LOCAL_INV,
                                       IBV_WR_BIND_MW,
                                       IBV_WR_ATOMIC_WRITE};
  uint64_t now = 0;
  while (!input.empty()) {
    const uint32_t what = input.number(1);
    switch (what % 8) {
      case 0: {
        auto& queues = a.device.of(number);
        if (queues.sends.size() >= connection.send_depth) break;
        transport::SendWqe wqe;
        wqe.opcode = opcodes[input.number(1) % std::size(opcodes)];
        wqe.bytes = wqe.opcode == IBV_WR_ATOMIC_WRITE ? 8 : input.number(2) % 8192;
        wqe.fence = wqe.bytes % 3 == 0;
        wqe.route = qp.responder.attributes.route;
        queues.sends.push_back({wqe, input.number(1) % 16 == 0 ? 0 : base});
        a.engine->wake(number);
        break;
      }
      case 1:
        a.device.of(number).receives.push_back(
            {input.number(1) % 16 == 0 ? 0 : base, input.number(2) % 4096});
        break;
      case 2:
        now += input.number(2) * 100ULL;
        break;
      case 3:
        a.engine->transmit(now, 1 + input.number(1));
        a.pipe.sent().clear();
        if (what == 0xfb) a.engine->pause(number, input.number(1) & 1, true);
        if (what == 0xf3) a.engine->to_error(number);
        break;
      default:
        feed_packet(a, qp, input, now);
    }
  }
  a.engine->transmit(now, 1000);
  return 0;
}
