// A histogram of microseconds: exact up to four seconds, constant cost per value.
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

int64_t unix_us(void);  // the clock that publishers stamp "ts_us" with

// When what is being read reached this process: now, or, if WSLOAD_ARRIVAL is set, when the kernel had it for the socket.
extern int64_t arrived_us;
int64_t received_us(void);

void latency_reset(void);
void latency_record(int64_t us);
uint64_t latency_count(void);

// The value in milliseconds below which the given share of all values lies; -1 if there are none.
double latency_percentile(double share);

#endif
