// One client of wsload, and what is counted over all of them.
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stddef.h>
#include <stdint.h>

typedef enum { CONNECTING, UPGRADING, GREETING, OPEN, DEAD } state;

typedef struct {
    int fd;
    uint8_t state;
    uint32_t have, capacity;  // the incomplete frame kept from the last read
    uint8_t *kept;
    uint64_t skip;            // bytes of the current frame still to come that nobody looks at
    uint64_t frames;
    int64_t seq;              // last "seq" seen, -1 before the first
    int64_t sent_us;          // echo: when the frame in flight left
    uint32_t written;         // flood: how much of the block has gone out
} client;

typedef struct {
    uint64_t frames, bytes, wsframes, sent, gaps, dups, control, closed;
    int opened, failed, satisfied;
} totals;

extern totals sum;
extern int counting;  // whether data frames count yet

void opened(client *c);
void drop(client *c);
void send_one(client *c);  // sends the payload and notes the time

// Count what is in n bytes just read, answer pings and echoes. Return how many bytes are done with; what is left over
// is an incomplete frame and comes again with the next read. take_messages counts "seq": keys instead of frames.
size_t take_frames(client *c, const uint8_t *p, size_t n);
size_t take_messages(client *c, const uint8_t *p, size_t n);

#endif
