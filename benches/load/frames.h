// The little of RFC 6455 that a load client and a floor server need, shared by both.
#ifndef BENCH_FRAMES_H
#define BENCH_FRAMES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

// The longest header a frame can have: two bytes, eight of length, four of mask.
enum { FRAME_HEADER_MAX = 14 };

static inline int is_control(uint8_t first_byte) { return (first_byte & 0x0f) >= OP_CLOSE; }

// Reads the header of an unmasked frame. Returns its length and sets *payload, or returns 0 while bytes are missing.
static inline size_t frame_header(const uint8_t *p, size_t have, uint64_t *payload) {
    if (have < 2) return 0;
    uint64_t n = p[1] & 0x7f;
    size_t header = 2;
    if (n == 126) {
        if (have < 4) return 0;
        n = (uint64_t)p[2] << 8 | p[3];
        header = 4;
    } else if (n == 127) {
        if (have < 10) return 0;
        n = 0;
        for (int i = 0; i < 8; i++) n = n << 8 | p[2 + i];
        header = 10;
    }
    *payload = n;
    return header;
}

// Writes one whole masked frame, as a client must send it. The mask is constant: it protects proxies from scripts in
// browsers, and here are neither. Returns the length written, at most n + FRAME_HEADER_MAX.
static inline size_t frame_masked(uint8_t *out, const void *payload, size_t n, int opcode) {
    static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
    size_t k = 0;
    out[k++] = (uint8_t)(0x80 | opcode);
    if (n < 126) {
        out[k++] = (uint8_t)(0x80 | n);
    } else if (n < 65536) {
        out[k++] = 0x80 | 126;
        out[k++] = (uint8_t)(n >> 8);
        out[k++] = (uint8_t)n;
    } else {
        out[k++] = 0x80 | 127;
        for (int i = 7; i >= 0; i--) out[k++] = (uint8_t)((uint64_t)n >> (8 * i));
    }
    memcpy(out + k, mask, 4);
    k += 4;
    for (size_t i = 0; i < n; i++) out[k++] = ((const uint8_t *)payload)[i] ^ mask[i & 3];
    return k;
}

#endif
