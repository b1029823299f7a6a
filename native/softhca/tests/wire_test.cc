// Headers and checksums, against packets that the kernel's Soft-RoCE sent.
#include <gtest/gtest.h>

#include <random>

#include "softhca/tests/capture.h"
#include "softhca/wire/crc32.h"
#include "softhca/wire/icrc.h"
#include "softhca/wire/ipv4.h"
#include "softhca/wire/ipv6.h"
#include "softhca/wire/packet.h"
#include "softhca/wire/udp.h"

namespace softhca::wire {
namespace {

using test::CapturedPacket;

std::vector<CapturedPacket> all_golden() {
  std::vector<CapturedPacket> all;
  for (const auto& name : test::golden_captures()) {
    for (auto& packet : test::read_golden(name)) all.push_back(std::move(packet));
  }
  return all;
}

std::vector<uint8_t> random_bytes(std::mt19937& random, size_t count) {
  std::vector<uint8_t> bytes(count);
  for (auto& byte : bytes) byte = uint8_t(random());
  return bytes;
}

std::span<const uint8_t> without_icrc(const CapturedPacket& packet) {
  return std::span(packet.bytes).first(packet.bytes.size() - icrc_length);
}

TEST(Wire, ReencodesEachGoldenPacketToTheSameBytes) {
  const auto golden = all_golden();
  ASSERT_EQ(golden.size(), 98U);
  for (const auto& captured : golden) {
    Packet packet;
    ASSERT_EQ(parse(captured.bytes, &packet), Parsed::ok);
    std::vector<uint8_t> again(packet_length(packet.bth.opcode, packet.payload.size()));
    uint8_t* to = emit_headers(packet, again.data());
    ASSERT_EQ(size_t(to - again.data()), header_length(packet.bth.opcode));
    std::copy(packet.payload.begin(), packet.payload.end(), to);
    const auto covered = std::span<const uint8_t>(again).first(again.size() - icrc_length);
    store_icrc(again.data() + covered.size(),
               icrc(captured.route, covered, captured.identification.value_or(0)));
    EXPECT_EQ(again, captured.bytes);
  }
}

TEST(Wire, ReencodesTheHeadersOfIpAndUdpOfEachGoldenPacket) {
  for (const auto& captured : all_golden()) {
    const bool ipv4 = captured.identification.has_value();
    std::vector<uint8_t> again(captured.headers.size());
    const uint8_t* from = captured.headers.data();
    if (ipv4) {
      Ipv4::parse(from).emit(again.data());
    } else {
      Ipv6::parse(from).emit(again.data());
    }
    const size_t at = ipv4 ? Ipv4::length : Ipv6::length;
    Udp::parse(from + at).emit(again.data() + at);
    EXPECT_EQ(again, captured.headers);
  }
}

TEST(Wire, RefusesPacketsThatAreCutAnywhereInTheirHeaders) {
  for (const auto& captured : all_golden()) {
    Packet packet;
    parse(captured.bytes, &packet);
    const size_t least = header_length(captured.bytes[0]) + packet.bth.pad + icrc_length;
    for (size_t bytes = 0; bytes < captured.bytes.size(); ++bytes) {
      const std::vector<uint8_t> cut(captured.bytes.begin(),
                                     captured.bytes.begin() + ptrdiff_t(bytes));
      EXPECT_EQ(parse(cut, &packet), bytes < least ? Parsed::too_short : Parsed::ok);
    }
  }
}

TEST(Wire, RefusesAVersionOrAnOpcodeThatItDoesNotKnow) {
  auto bytes = test::read_golden("send_small")[0].bytes;
  Packet packet;
  bytes[1] |= 1;
  EXPECT_EQ(parse(bytes, &packet), Parsed::wrong_version);
  bytes[1] &= 0xf0;
  for (const uint8_t opcode : {0x15, 0x2c, 0x40, 0x60, 0x80, 0xff}) {
    bytes[0] = opcode;
    EXPECT_EQ(parse(bytes, &packet), Parsed::unknown_opcode) << unsigned(opcode);
  }
}

TEST(Crc32, GivesTheSameByEveryMethod) {
  std::mt19937 random(1);
  const auto bytes = random_bytes(random, 9000);
  EXPECT_EQ(~crc32_update(crc32_start, reinterpret_cast<const uint8_t*>("123456789"), 9),
            0xcbf43926U);
  for (size_t at = 0; at < 17; ++at) {
    for (size_t count = 0; at + count < bytes.size(); count += count < 600 ? 1 : 97) {
      // An allocation of its own, so that reading past the end is found.
      const std::vector<uint8_t> own(bytes.begin() + ptrdiff_t(at),
                                     bytes.begin() + ptrdiff_t(at + count));
      const uint32_t expected = crc32_update_by_table(0x1234567, own.data(), count);
      for (const auto& method : crc32_methods())
        ASSERT_EQ(method.update(0x1234567, own.data(), count), expected)
            << method.name << ", " << count << " bytes";
    }
  }
}

TEST(Crc32, GivesTheSameOfAHeadAndARestByEveryMethod) {
  std::mt19937 random(4);
  const auto head = random_bytes(random, 80), rest = random_bytes(random, 4200);
  for (const size_t head_bytes : {16, 48, 64, 80}) {
    for (size_t count = 0; count < rest.size(); count += count < 600 ? 1 : 97) {
      const std::vector<uint8_t> own(rest.begin(), rest.begin() + ptrdiff_t(count));
      const uint32_t expected = crc32_update_by_table(
          crc32_update_by_table(0, head.data(), head_bytes), own.data(), count);
      for (const auto& method : crc32_methods())
        ASSERT_EQ(method.of_two(head.data(), head_bytes, own.data(), count), expected)
            << method.name << ", " << head_bytes << " and " << count << " bytes";
    }
  }
}

TEST(Crc32, MovesADifferenceForwardAndBack) {
  std::mt19937 random(2);
  for (const size_t count : {0, 1, 7, 64, 4200, 4351, 4352, 10000}) {
    const auto bytes = random_bytes(random, count);
    const uint32_t difference = uint32_t(random());
    const uint32_t changed = crc32_update(difference, bytes.data(), count);
    const uint32_t unchanged = crc32_update(0, bytes.data(), count);
    EXPECT_EQ(crc32_forward(difference, count), changed ^ unchanged);
    EXPECT_EQ(crc32_back(changed ^ unchanged, count), difference);
  }
}

TEST(Icrc, VerifiesEachGoldenPacket) {
  for (const auto& captured : all_golden()) {
    EXPECT_TRUE(verify_icrc(captured.route, captured.bytes, captured.identification));
    EXPECT_EQ(icrc_of_frame(captured.headers, without_icrc(captured)),
              load_icrc(&captured.bytes[captured.bytes.size() - icrc_length]));
  }
}

TEST(Icrc, IsTheSameForAPacketInPieces) {
  std::mt19937 random(3);
  for (const auto& captured : all_golden()) {
    const auto covered = without_icrc(captured);
    for (int turn = 0; turn < 20; ++turn) {
      std::vector<iovec> pieces;
      auto* from = const_cast<uint8_t*>(covered.data());
      size_t left = covered.size();
      size_t piece = std::min(left, Bth::length + random() % 5);
      while (left > 0) {
        pieces.push_back({from, piece});
        from += piece;
        left -= piece;
        piece = std::min<size_t>(left, random() % 300);
      }
      EXPECT_EQ(icrc(captured.route, pieces), icrc(captured.route, covered));
    }
  }
}

TEST(Icrc, FindsTheIdentificationThatAUdpSocketDoesNotShow) {
  for (const auto& captured : all_golden()) {
    EXPECT_TRUE(verify_icrc(captured.route, captured.bytes, std::nullopt));
    if (!captured.identification) continue;
    const auto covered = without_icrc(captured);
    const uint32_t zero = icrc(captured.route, covered);
    const uint32_t received = load_icrc(captured.bytes.data() + covered.size());
    EXPECT_EQ(identification_behind(zero ^ received, covered.size()), captured.identification);
    EXPECT_EQ(zero ^ icrc_change(*captured.identification, covered.size()), received);
  }
}

TEST(Icrc, NoticesEachFlippedBitEvenWithoutTheIdentification) {
  const auto captured = test::read_golden("send_small")[0];
  for (size_t bit = 0; bit < captured.bytes.size() * 8; ++bit) {
    auto bytes = captured.bytes;
    bytes[bit / 8] ^= uint8_t(1 << bit % 8);
    // The byte that routers may change is not covered.
    const bool covered = bit / 8 != Bth::congestion_at;
    EXPECT_NE(verify_icrc(captured.route, bytes, captured.identification), covered);
    EXPECT_NE(verify_icrc(captured.route, bytes, std::nullopt), covered) << "bit " << bit;
  }
}

TEST(Icrc, CoversWhoSendsToWhom) {
  for (const char* name : {"send_small", "ud_send_ipv6"}) {
    const auto captured = test::read_golden(name)[0];
    Route route = captured.route;
    route.traffic_class ^= 0xff;
    route.hop_limit ^= 0xff;
    route.flow_label ^= 0xfffff;
    EXPECT_TRUE(verify_icrc(route, captured.bytes, captured.identification));
    route.source[15] ^= 1;
    EXPECT_FALSE(verify_icrc(route, captured.bytes, captured.identification));
    EXPECT_FALSE(verify_icrc(route, captured.bytes, std::nullopt));
    route = captured.route;
    route.source_port ^= 1;
    EXPECT_FALSE(verify_icrc(route, captured.bytes, captured.identification));
  }
}

}  // namespace
}  // namespace softhca::wire
