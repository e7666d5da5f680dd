// A histogram of microseconds: exact up to four seconds, constant cost per value.
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

int64_t unix_us(void);  // the clock that publishers stamp "ts_us" with

void latency_reset(void);
void latency_record(int64_t us);
uint64_t latency_count(void);

// The value in milliseconds below which the given share of all values lies; -1 if there are none.
double latency_percentile(double share);

#endif
