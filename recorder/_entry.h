/* The bytes of a DATA record (recorder/FORMAT.md, sections 3 to 5), as
 * recorder/session_log.py and recorder/journal.py write them: msgpack in its
 * shortest forms, framed and checked. The writers of msgpack take it that there is
 * room. Include stdint.h and string.h first. */
#ifndef WIREWARDEN_ENTRY_H
#define WIREWARDEN_ENTRY_H

#define RECORD_HEADER 16
#define RECORD_MASK 0xA282EAD8u
#define UINT_MOST 9 /* bytes that a number takes at most */
#define BIN_HEAD_MOST 5

static inline uint8_t *put_be(uint8_t *p, uint64_t value, int bytes)
{
    while (bytes--)
        *p++ = (uint8_t)(value >> (8 * bytes));
    return p;
}

static inline void put_le32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
    p[2] = (uint8_t)(value >> 16);
    p[3] = (uint8_t)(value >> 24);
}

static inline void put_le64(uint8_t *p, uint64_t value)
{
    put_le32(p, (uint32_t)value);
    put_le32(p + 4, (uint32_t)(value >> 32));
}

static inline uint8_t *pack_uint(uint8_t *p, uint64_t value)
{
    if (value < 0x80) {
        *p++ = (uint8_t)value;
        return p;
    }
    if (value <= 0xff) {
        *p++ = 0xcc;
        return put_be(p, value, 1);
    }
    if (value <= 0xffff) {
        *p++ = 0xcd;
        return put_be(p, value, 2);
    }
    if (value <= 0xffffffffu) {
        *p++ = 0xce;
        return put_be(p, value, 4);
    }
    *p++ = 0xcf;
    return put_be(p, value, 8);
}

/* The head of an array of fewer than 65,536 elements. */
static inline uint8_t *pack_array(uint8_t *p, size_t count)
{
    if (count < 16) {
        *p++ = (uint8_t)(0x90 | count);
        return p;
    }
    *p++ = 0xdc;
    return put_be(p, count, 2);
}

/* The head of a text of fewer than 65,536 bytes. */
static inline uint8_t *pack_str(uint8_t *p, size_t length)
{
    if (length < 32) {
        *p++ = (uint8_t)(0xa0 | length);
        return p;
    }
    if (length <= 0xff) {
        *p++ = 0xd9;
        return put_be(p, length, 1);
    }
    *p++ = 0xda;
    return put_be(p, length, 2);
}

static inline uint8_t *pack_bin(uint8_t *p, const uint8_t *data, size_t length)
{
    if (length <= 0xff) {
        *p++ = 0xc4;
        p = put_be(p, length, 1);
    } else if (length <= 0xffff) {
        *p++ = 0xc5;
        p = put_be(p, length, 2);
    } else {
        *p++ = 0xc6;
        p = put_be(p, length, 4);
    }
    memcpy(p, data, length);
    return p + length;
}

/* -- CRC-32C ------------------------------------------------------------- */

static uint32_t crc_table[256];
static int crc_in_hardware;

static uint32_t crc_by_table(uint32_t state, const uint8_t *p, size_t length)
{
    while (length--)
        state = crc_table[(state ^ *p++) & 0xff] ^ (state >> 8);
    return state;
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("sse4.2"))) static uint32_t crc_by_hardware(uint32_t state,
                                                                  const uint8_t *p, size_t length)
{
    uint64_t wide = state, word;
    for (; length >= 8; p += 8, length -= 8) {
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    state = (uint32_t)wide;
    while (length--)
        state = __builtin_ia32_crc32qi(state, *p++);
    return state;
}
#else
#define crc_by_hardware crc_by_table
#endif

/* As crc32c.crc32c(data, before) has it: `before` is 0, or what it returned. */
static uint32_t crc32c(uint32_t before, const uint8_t *p, size_t length)
{
    uint32_t state = ~before;
    return ~(crc_in_hardware ? crc_by_hardware(state, p, length) : crc_by_table(state, p, length));
}

/* Once, before the first crc32c. */
static void crc_prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0x82F63B78u : 0);
        crc_table[i] = value;
    }
#if defined(__x86_64__) && defined(__GNUC__)
    crc_in_hardware = __builtin_cpu_supports("sse4.2") != 0;
#endif
}

/* The record header before a body of `length` bytes at p + RECORD_HEADER;
 * `first` is its first word, `offset` its place in the segment that `seed` is of. */
static void put_record_header(uint8_t *p, uint32_t first, uint32_t length, uint32_t seed,
                              uint64_t offset)
{
    uint8_t bound[16];
    put_le32(bound, first);
    put_le32(bound + 4, length);
    put_le64(bound + 8, offset);
    memcpy(p, bound, 8);
    put_le32(p + 8, crc32c(seed, bound, 16) ^ RECORD_MASK);
    put_le32(p + 12, crc32c(0, p + RECORD_HEADER, length) ^ RECORD_MASK);
}

#endif
