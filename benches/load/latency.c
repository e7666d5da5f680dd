#include "latency.h"

#include <string.h>
#include <time.h>

enum { LIMIT = 4000000 };  // what takes longer counts as the last microsecond

static uint32_t histogram[LIMIT];
static uint64_t count;

int64_t unix_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t arrived_us;

int64_t received_us(void) { return arrived_us ? arrived_us : unix_us(); }

void latency_reset(void) {
    memset(histogram, 0, sizeof histogram);
    count = 0;
}

void latency_record(int64_t us) {
    if (us < 0) us = 0;
    if (us >= LIMIT) us = LIMIT - 1;
    histogram[us]++;
    count++;
}

uint64_t latency_count(void) { return count; }

double latency_percentile(double share) {
    uint64_t below = (uint64_t)((double)count * share), seen = 0;
    for (int us = 0; us < LIMIT; us++) {
        seen += histogram[us];
        if (seen > below) return us / 1000.0;
    }
    return -1;
}
