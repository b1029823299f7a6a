// Two engines between which a test carries each packet itself.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "softhca/tests/transport_model.h"
#include "softhca/wire/icrc.h"

namespace softhca::transport {

inline constexpr uint32_t number = 0x11;
inline constexpr uint64_t base = 0x10000, memory_bytes = 1 << 20;
inline constexpr uint64_t local = base, remote = base + memory_bytes / 2;
inline constexpr uint32_t key = 0x100;
inline constexpr uint32_t mtu = 1024;

class Engines : public testing::Test {
 protected:
  Engines() : a(memory_bytes), b(memory_bytes) {
    a.attach();
    b.attach();
    connection.sending.timeout = 8;
    b.device.add_region(key, base, memory_bytes, test::all_access);
    for (uint64_t i = 0; i < memory_bytes; ++i) {
      a.device.memory(base + i, 1)[0] = uint8_t(i * 31 >> 3);
      b.device.memory(base + i, 1)[0] = uint8_t(i * 17 >> 2);
    }
  }

  void join() { test::connect(a, b, connection); }

  void post(ibv_wr_opcode opcode, uint64_t bytes, uint64_t from = local,
            const std::function<void(SendWqe&)>& change = {}) {
    SendWqe wqe;
    wqe.opcode = opcode;
    wqe.bytes = bytes;
    wqe.remote_address = remote;
    wqe.rkey = key;
    if (change) change(wqe);
    a.device.of(number).sends.push_back({wqe, from});
    a.engine->wake(number);
  }
  void post_receive(uint64_t bytes = memory_bytes / 2) {
    b.device.of(number).receives.push_back({remote, bytes});
  }

  // What an end would send now.
  static std::vector<test::Pipe::Packet> take(test::End& end, uint64_t now = 0) {
    while (end.engine->transmit(now, 1000)) {
    }
    return std::exchange(end.pipe.sent(), {});
  }
  static void give(test::End& end, const test::Pipe::Packet& packet, uint64_t now = 0) {
    end.engine->receive({packet.route, packet.bytes, 0}, now);
  }
  // Exchanges all there is to say, at one time.
  void exchange(uint64_t now = 0) {
    for (;;) {
      const auto there = take(a, now), back = take(b, now);
      if (there.empty() && back.empty()) return;
      for (const auto& packet : there) give(b, packet, now);
      for (const auto& packet : back) give(a, packet, now);
    }
  }
  // As if a or b had sent it: with a right ICRC.
  static test::Pipe::Packet changed(test::Pipe::Packet packet,
                                    const std::function<void(wire::Packet&)>& change) {
    wire::Packet parsed;
    EXPECT_EQ(wire::parse(packet.bytes, &parsed), wire::Parsed::ok);
    const std::vector<uint8_t> payload(parsed.payload.begin(), parsed.payload.end());
    parsed.payload = payload;
    change(parsed);
    parsed.bth.pad = wire::pad_for(parsed.payload.size());
    packet.bytes.assign(wire::packet_length(parsed.bth.opcode, parsed.payload.size()), 0);
    uint8_t* to = wire::emit_headers(parsed, packet.bytes.data());
    std::copy(parsed.payload.begin(), parsed.payload.end(), to);
    const std::span<const uint8_t> all(packet.bytes);
    const auto covered = all.first(all.size() - wire::icrc_length);
    wire::store_icrc(packet.bytes.data() + covered.size(), wire::icrc(packet.route, covered));
    return packet;
  }
  static wire::Packet parsed(const test::Pipe::Packet& packet) {
    wire::Packet result;
    EXPECT_EQ(wire::parse(packet.bytes, &result), wire::Parsed::ok);
    return result;
  }
  uint64_t count(const test::End& end, Counter counter) { return end.engine->counters()[counter]; }
  std::vector<ibv_wc_status> statuses() {
    std::vector<ibv_wc_status> all;
    for (const auto& completion : a.device.of(number).sent) all.push_back(completion.status);
    return all;
  }
  bool same(uint64_t bytes) {
    const auto ours = a.device.memory(local, bytes), theirs = b.device.memory(remote, bytes);
    return std::equal(ours.begin(), ours.end(), theirs.begin());
  }

  test::Connection connection;
  test::End a, b;
};

}  // namespace softhca::transport
