#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "client.h"
#include "frames.h"
#include "latency.h"
#include "options.h"

enum { LOOK_AT = 512 };  // of a long frame only this much is looked at, the rest is skipped

static int64_t number_at(const uint8_t *p) {
    int64_t n = 0;
    for (; *p >= '0' && *p <= '9'; p++) n = n * 10 + (*p - '0');
    return n;
}

static void follow_seq(client *c, int64_t seq) {
    if (c->seq >= 0) {
        if (seq > c->seq + 1) sum.gaps += (uint64_t)(seq - c->seq - 1);
        else if (seq <= c->seq) sum.dups++;
    }
    c->seq = seq;
}

static void look_at(client *c, const uint8_t *p, size_t n) {
    if (opt.latency) {
        const uint8_t *q = memmem(p, n, "\"ts_us\":", 8);
        if (q) latency_record(received_us() - number_at(q + 8));
    }
    if (opt.check_seq) {
        // The publishers of these measurements have the key at byte 25; searching for it would cost more than the rest.
        const uint8_t *q = n > 40 && !memcmp(p + 25, "\"seq\":", 6) ? p + 25 : memmem(p, n, "\"seq\":", 6);
        if (q) follow_seq(c, number_at(q + 6));
    }
}

// A frame, of whose payload the first n bytes are in memory; length is that of the whole.
static void on_frame(client *c, int opcode, const uint8_t *p, size_t n, uint64_t length) {
    if (opcode < OP_CLOSE) {
        if (c->state == GREETING) opened(c);
        if (!counting) return;
        sum.frames++;
        sum.bytes += length;
        c->frames++;
        if (c->frames == opt.expect) sum.satisfied++;
        if (opt.latency || opt.check_seq) look_at(c, p, n);
        if (opt.echo && c->sent_us) {
            latency_record(unix_us() - c->sent_us);
            send_one(c);
        }
        return;
    }
    sum.control++;
    if (opcode == OP_PING) {
        uint8_t pong[125 + FRAME_HEADER_MAX];
        size_t length_out = frame_masked(pong, p, n > 125 ? 125 : n, OP_PONG);
        if (send(c->fd, pong, length_out, MSG_NOSIGNAL) < 0 && errno != EAGAIN) drop(c);
    } else if (opcode == OP_CLOSE) {
        drop(c);
    }
}

// WSLOAD_MULTI: messages inside a stretch of one frame. Returns how much is done with; a message that may go on in the
// next read is left over unless this is the frame's end.
static size_t scan_messages(client *c, const uint8_t *p, size_t n, int last) {
    const uint8_t *from = p, *end = p + n;
    for (;;) {
        const uint8_t *q = end - from >= 6 ? memmem(from, (size_t)(end - from), "\"seq\":", 6) : NULL;
        if (!q) return last ? n : n - (end - from < 5 ? (size_t)(end - from) : 5);
        size_t rest = (size_t)(end - q);
        if (rest < 60 && !last) return (size_t)(q - p);
        if (counting) {
            sum.frames++;
            c->frames++;
            if (opt.check_seq) follow_seq(c, number_at(q + 6));
            if (opt.latency) {
                const uint8_t *t = memmem(q, rest < 60 ? rest : 60, "\"ts_us\":", 8);
                if (t) latency_record(received_us() - number_at(t + 8));
            }
        }
        from = rest > 40 ? q + 40 : end;
    }
}

size_t take_messages(client *c, const uint8_t *p, size_t n) {
    size_t k = 0;
    while (c->state != DEAD && k < n) {
        if (!c->skip) {
            uint64_t payload;
            size_t header = frame_header(p + k, n - k, &payload);
            if (!header) break;
            if (is_control(p[k])) {
                if (n - k < header + payload) break;
                on_frame(c, p[k] & 0x0f, p + k + header, payload, payload);
                k += header + payload;
                continue;
            }
            if (counting) sum.wsframes++;
            c->skip = payload;
            k += header;
            continue;
        }
        size_t here = c->skip < n - k ? c->skip : n - k;
        size_t used = scan_messages(c, p + k, here, here == c->skip);
        k += used;
        c->skip -= used;
        if (used < here) break;
    }
    if (counting) sum.bytes += k;
    return k;
}

size_t take_frames(client *c, const uint8_t *p, size_t n) {
    size_t k = 0;
    if (c->skip) {
        k = c->skip < n ? c->skip : n;
        c->skip -= k;
    }
    while (!c->skip && c->state != DEAD) {
        uint64_t payload;
        size_t header = frame_header(p + k, n - k, &payload);
        if (!header || n - k < header + (payload < LOOK_AT ? payload : LOOK_AT)) break;
        size_t here = n - k - header;
        if (here > payload) here = payload;
        on_frame(c, p[k] & 0x0f, p + k + header, here, payload);
        k += header + here;
        c->skip = payload - here;
    }
    return k;
}
