#include "softhca/wire/crc32.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static_assert(std::endian::native == std::endian::little);

namespace softhca::wire {
namespace {

// Reflected: bit 31 is the coefficient of x^0, and x^32 is left out.
constexpr uint32_t polynomial = 0xedb88320;
constexpr uint32_t one = 0x80000000;

constexpr uint32_t times_x(uint32_t value) { return value >> 1 ^ (value & 1 ? polynomial : 0); }
constexpr uint32_t divided_by_x(uint32_t value) {
  return value & one ? (value ^ polynomial) << 1 | 1 : value << 1;
}

// Modulo the polynomial.
constexpr uint32_t multiply(uint32_t left, uint32_t right) {
  uint32_t product = 0;
  for (int bit = 31; bit >= 0; --bit) {
    product ^= -(left >> bit & 1) & right;
    right = times_x(right);
  }
  return product;
}

// slices[k][b]: what byte b does to the register when k bytes follow it.
constexpr auto slices = [] {
  std::array<std::array<uint32_t, 256>, 8> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = times_x(value);
    table[0][byte] = value;
  }
  for (size_t k = 1; k < table.size(); ++k) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = table[k - 1][byte];
      table[k][byte] = before >> 8 ^ table[0][before & 255];
    }
  }
  return table;
}();

// x^(8 n), or x^(-8 n), for the sizes that packets have.
constexpr size_t power_count = 4352;
using Powers = std::array<uint32_t, power_count>;
template <uint32_t (*step)(uint32_t)>
Powers make_powers() {
  Powers powers;
  uint32_t power = one;
  for (auto& entry : powers) {
    entry = power;
    for (int bit = 0; bit < 8; ++bit) power = step(power);
  }
  return powers;
}
uint32_t move(const Powers& powers, uint32_t difference, size_t bytes) {
  constexpr size_t longest = power_count - 1;
  for (; bytes > longest; bytes -= longest) difference = multiply(difference, powers[longest]);
  return multiply(difference, powers[bytes]);
}

#if defined(__x86_64__)

// A block is multiplied by powers of x until it lies over a later one, and added to it, as in
// Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ" (2009). What is left
// of all blocks is one of 16 bytes with the same remainder.

// x^n mod P as a factor for reflected numbers, whose carry-less product is one bit short.
constexpr long long factor(unsigned n) {
  uint32_t power = one;
  while (n-- > 0) power = times_x(power);
  return static_cast<long long>(power) << 1;
}
// The first half of 16 bytes is 64 bits ahead of the second; the products' places account for 32.
template <unsigned bits>
struct Distance {
  static constexpr long long first_half = factor(bits + 32);
  static constexpr long long second_half = factor(bits - 32);
};

#define VIADUCT_PCLMUL __attribute__((target("pclmul,sse4.1")))
#define VIADUCT_VPCLMUL __attribute__((target("pclmul,vpclmulqdq,avx512f,avx512bw")))

inline __m128i load(const uint8_t* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

template <unsigned bits>
VIADUCT_PCLMUL inline __m128i fold(__m128i sum, __m128i next) {
  const __m128i by = _mm_set_epi64x(Distance<bits>::second_half, Distance<bits>::first_half);
  return _mm_xor_si128(
      _mm_xor_si128(_mm_clmulepi64_si128(sum, by, 0x00), _mm_clmulepi64_si128(sum, by, 0x11)),
      next);
}

// The remainder of 16 bytes, as the register has it: of their product with x^32. Folded to 12
// bytes, then to 8; Barrett's reduction of these: the quotient by the polynomial, from the product
// with x^64 / P, tells what to take away.
constexpr long long whole_polynomial = static_cast<long long>(polynomial) << 1 | 1;
constexpr long long reciprocal = [] {
  uint64_t quotient = 1;  // bit n: the coefficient of x^(32 - n)
  uint32_t remainder = polynomial;
  for (int n = 1; n <= 32; ++n) {
    quotient |= uint64_t(remainder & 1) << n;
    remainder = times_x(remainder);
  }
  return static_cast<long long>(quotient);
}();

VIADUCT_PCLMUL inline uint32_t reduce(__m128i sum) {
  const __m128i factors = _mm_set_epi64x(factor(64), factor(96));
  const __m128i division = _mm_set_epi64x(reciprocal, whole_polynomial);
  const __m128i low_words = _mm_set_epi32(0, -1, 0, -1);
  sum = _mm_xor_si128(_mm_clmulepi64_si128(sum, factors, 0x00), _mm_srli_si128(sum, 8));
  sum = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(sum, low_words), factors, 0x10),
                      _mm_srli_si128(sum, 4));
  __m128i product = _mm_clmulepi64_si128(_mm_and_si128(sum, low_words), division, 0x10);
  product = _mm_clmulepi64_si128(_mm_and_si128(product, low_words), division, 0x00);
  return static_cast<uint32_t>(_mm_extract_epi32(_mm_xor_si128(sum, product), 1));
}

VIADUCT_PCLMUL inline uint32_t finish_folding(__m128i sum, const uint8_t* data, size_t bytes) {
  for (; bytes >= 16; data += 16, bytes -= 16) sum = fold<128>(sum, load(data));
  const uint32_t state = reduce(sum);
  return bytes == 0 ? state : crc32_update_by_table(state, data, bytes);
}

// Goes on with a sum of what was before.
VIADUCT_PCLMUL inline uint32_t fold_on(__m128i sum, const uint8_t* data, size_t bytes) {
  if (bytes >= 128) {
    __m128i sums[4] = {fold<128>(sum, load(data)), load(data + 16), load(data + 32),
                       load(data + 48)};
    for (data += 64, bytes -= 64; bytes >= 64; data += 64, bytes -= 64) {
      for (size_t i = 0; i < 4; ++i) sums[i] = fold<512>(sums[i], load(data + 16 * i));
    }
    sum = fold<128>(fold<128>(fold<128>(sums[0], sums[1]), sums[2]), sums[3]);
  }
  return finish_folding(sum, data, bytes);
}

VIADUCT_PCLMUL inline __m128i fold_head(const uint8_t* head, size_t bytes) {
  __m128i sum = load(head);
  for (size_t at = 16; at < bytes; at += 16) sum = fold<128>(sum, load(head + at));
  return sum;
}

VIADUCT_PCLMUL uint32_t update_by_pclmul(uint32_t state, const uint8_t* data, size_t bytes) {
  if (bytes < 16) return crc32_update_by_table(state, data, bytes);
  const __m128i sum = _mm_xor_si128(load(data), _mm_cvtsi32_si128(static_cast<int>(state)));
  return fold_on(sum, data + 16, bytes - 16);
}

VIADUCT_PCLMUL uint32_t of_two_by_pclmul(const uint8_t* head, size_t head_bytes,
                                         const uint8_t* data, size_t bytes) {
  return fold_on(fold_head(head, head_bytes), data, bytes);
}

VIADUCT_VPCLMUL inline __m512i load_wide(const uint8_t* from) { return _mm512_loadu_si512(from); }
template <unsigned bits>
VIADUCT_VPCLMUL inline __m512i fold_wide(__m512i sum, __m512i next) {
  const __m512i by = _mm512_set_epi64(Distance<bits>::second_half, Distance<bits>::first_half,
                                      Distance<bits>::second_half, Distance<bits>::first_half,
                                      Distance<bits>::second_half, Distance<bits>::first_half,
                                      Distance<bits>::second_half, Distance<bits>::first_half);
  return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(sum, by, 0x00),
                                   _mm512_clmulepi64_epi128(sum, by, 0x11), next, 0x96);
}

VIADUCT_VPCLMUL inline uint32_t fold_on_wide(__m128i before, const uint8_t* data, size_t bytes) {
  if (bytes < 256) return fold_on(before, data, bytes);
  const __m512i start = _mm512_zextsi128_si512(fold<128>(before, _mm_setzero_si128()));
  __m512i sums[4] = {_mm512_xor_si512(load_wide(data), start), load_wide(data + 64),
                     load_wide(data + 128), load_wide(data + 192)};
  for (data += 256, bytes -= 256; bytes >= 256; data += 256, bytes -= 256) {
    for (size_t i = 0; i < 4; ++i) sums[i] = fold_wide<2048>(sums[i], load_wide(data + 64 * i));
  }
  __m512i sum = fold_wide<512>(fold_wide<512>(fold_wide<512>(sums[0], sums[1]), sums[2]), sums[3]);
  for (; bytes >= 64; data += 64, bytes -= 64) sum = fold_wide<512>(sum, load_wide(data));
  uint8_t left[64];
  _mm512_storeu_si512(left, sum);
  return finish_folding(fold_head(left, sizeof left), data, bytes);
}

VIADUCT_VPCLMUL uint32_t update_by_vpclmul(uint32_t state, const uint8_t* data, size_t bytes) {
  if (bytes < 16) return crc32_update_by_table(state, data, bytes);
  const __m128i sum = _mm_xor_si128(load(data), _mm_cvtsi32_si128(static_cast<int>(state)));
  return fold_on_wide(sum, data + 16, bytes - 16);
}

VIADUCT_VPCLMUL uint32_t of_two_by_vpclmul(const uint8_t* head, size_t head_bytes,
                                           const uint8_t* data, size_t bytes) {
  return fold_on_wide(fold_head(head, head_bytes), data, bytes);
}

std::vector<Crc32Method> fast_methods() {
  std::vector<Crc32Method> methods;
  if (__builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("avx512bw"))
    methods.push_back({"vpclmulqdq", update_by_vpclmul, of_two_by_vpclmul});
  if (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))
    methods.push_back({"pclmulqdq", update_by_pclmul, of_two_by_pclmul});
  return methods;
}

#elif defined(__aarch64__)

// The processor's own instruction for this very polynomial.
__attribute__((target("+crc"))) uint32_t update_by_instruction(uint32_t state, const uint8_t* data,
                                                               size_t bytes) {
  for (; bytes >= 8; data += 8, bytes -= 8) {
    uint64_t word;
    memcpy(&word, data, 8);
    state = __crc32d(state, word);
  }
  for (; bytes > 0; ++data, --bytes) state = __crc32b(state, *data);
  return state;
}

uint32_t of_two_by_instruction(const uint8_t* head, size_t head_bytes, const uint8_t* data,
                               size_t bytes) {
  return update_by_instruction(update_by_instruction(0, head, head_bytes), data, bytes);
}

std::vector<Crc32Method> fast_methods() {
  if (getauxval(AT_HWCAP) & HWCAP_CRC32)
    return {{"crc32", update_by_instruction, of_two_by_instruction}};
  return {};
}

#else

std::vector<Crc32Method> fast_methods() { return {}; }

#endif

uint32_t of_two_by_table(const uint8_t* head, size_t head_bytes, const uint8_t* data,
                         size_t bytes) {
  return crc32_update_by_table(crc32_update_by_table(0, head, head_bytes), data, bytes);
}

}  // namespace

const std::vector<Crc32Method>& crc32_methods() {
  static const std::vector<Crc32Method> methods = [] {
    auto all = fast_methods();
    all.push_back({"table", crc32_update_by_table, of_two_by_table});
    return all;
  }();
  return methods;
}

uint32_t crc32_update(uint32_t state, const uint8_t* data, size_t bytes) {
  static const auto fastest = crc32_methods().front().update;
  return fastest(state, data, bytes);
}

uint32_t crc32_of_two(const uint8_t* head, size_t head_bytes, const uint8_t* data, size_t bytes) {
  static const auto fastest = crc32_methods().front().of_two;
  return fastest(head, head_bytes, data, bytes);
}

uint32_t crc32_update_by_table(uint32_t state, const uint8_t* data, size_t bytes) {
  for (; bytes >= 8; data += 8, bytes -= 8) {
    uint64_t word;
    memcpy(&word, data, 8);
    word ^= state;
    state = 0;
    for (size_t k = 0; k < 8; ++k) state ^= slices[7 - k][word >> (8 * k) & 255];
  }
  for (; bytes > 0; ++data, --bytes) state = state >> 8 ^ slices[0][(state ^ *data) & 255];
  return state;
}

uint32_t crc32_forward(uint32_t difference, size_t bytes) {
  static const Powers powers = make_powers<times_x>();
  return move(powers, difference, bytes);
}

uint32_t crc32_back(uint32_t difference, size_t bytes) {
  static const Powers powers = make_powers<divided_by_x>();
  return move(powers, difference, bytes);
}

}  // namespace softhca::wire
