/* SHA-256 (FIPS 180-4, section 6.2) from a state that is remembered: for HMAC with one key.
 * OpenSSL's contexts cost more to copy than a short value costs to hash. Include stdint.h and
 * string.h first. */
#ifndef WIREWARDEN_SHA256_H
#define WIREWARDEN_SHA256_H

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>
#define SHA_NATIVE 1
#endif

#define SHA_BLOCK 64
#define SHA_SIZE 32

static const uint32_t sha_start[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t sha_rounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t sha_turn(uint32_t x, int by)
{
    return x >> by | x << (32 - by);
}

static void sha_block(uint32_t state[8], const unsigned char *block)
{
    uint32_t w[64], s[8], one, two;
    int i;
    for (i = 0; i < 16; i++, block += 4)
        w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 |
               block[3];
    for (; i < 64; i++)
        w[i] = (sha_turn(w[i - 2], 17) ^ sha_turn(w[i - 2], 19) ^ w[i - 2] >> 10) + w[i - 7] +
               (sha_turn(w[i - 15], 7) ^ sha_turn(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 16];
    memcpy(s, state, sizeof(s));
    for (i = 0; i < 64; i++) {
        one = s[7] + (sha_turn(s[4], 6) ^ sha_turn(s[4], 11) ^ sha_turn(s[4], 25)) +
              ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha_rounds[i] + w[i];
        two = (sha_turn(s[0], 2) ^ sha_turn(s[0], 13) ^ sha_turn(s[0], 22)) +
              ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = s[4], s[4] = s[3] + one;
        s[3] = s[2], s[2] = s[1], s[1] = s[0], s[0] = one + two;
    }
    for (i = 0; i < 8; i++)
        state[i] += s[i];
}

typedef void (*ShaBlock)(uint32_t state[8], const unsigned char *block);

#ifdef SHA_NATIVE
/* The same by the processor's own instructions (Intel SDM, SHA256RNDS2 and following), which
 * want the words of the state as ABEF and CDGH. */
__attribute__((target("sha,sse4.1,ssse3")))
static void sha_block_native(uint32_t state[8], const unsigned char *block)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i dcba = _mm_loadu_si128((const __m128i *)state);
    __m128i hgfe = _mm_loadu_si128((const __m128i *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1), efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
    __m128i first = abef, second = cdgh, w[4], four, feba, dchg;
    int i;
#pragma GCC unroll 16
    for (i = 0; i < 16; i++) {
        if (i < 4) {
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * i)), swap);
        } else {
            four = _mm_add_epi32(_mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]),
                                 _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
            w[i & 3] = _mm_sha256msg2_epu32(four, w[(i + 3) & 3]);
        }
        four = _mm_add_epi32(w[i & 3], _mm_loadu_si128((const __m128i *)(sha_rounds + 4 * i)));
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, four);
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(four, 0x0e));
    }
    feba = _mm_shuffle_epi32(_mm_add_epi32(abef, first), 0x1b);
    dchg = _mm_shuffle_epi32(_mm_add_epi32(cdgh, second), 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}
#endif

/* What this processor does it by. */
static ShaBlock sha_best(void)
{
#ifdef SHA_NATIVE
    unsigned int a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSSE3) && (c & bit_SSE4_1) &&
        __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA))
        return sha_block_native;
#endif
    return sha_block;
}

/* The digest of one block, after which the state was `begun`, and `size` bytes of `data`. */
static void sha_digest(ShaBlock by, const uint32_t begun[8], const unsigned char *data, size_t size,
                       unsigned char digest[SHA_SIZE])
{
    uint64_t bits = 8 * ((uint64_t)size + SHA_BLOCK);
    unsigned char last[2 * SHA_BLOCK] = {0};
    uint32_t state[8];
    size_t blocks;
    int i;
    memcpy(state, begun, sizeof(state));
    for (; size >= SHA_BLOCK; data += SHA_BLOCK, size -= SHA_BLOCK)
        by(state, data);
    if (size)
        memcpy(last, data, size);
    last[size] = 0x80;
    blocks = size < SHA_BLOCK - 8 ? 1 : 2;
    for (i = 0; i < 8; i++)
        last[blocks * SHA_BLOCK - 1 - (size_t)i] = (unsigned char)(bits >> 8 * i);
    by(state, last);
    if (blocks == 2)
        by(state, last + SHA_BLOCK);
    for (i = 0; i < SHA_SIZE; i++)
        digest[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}

#endif
