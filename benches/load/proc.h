// What the kernel knows about the processes of a measurement, read from /proc (Linux only).
#ifndef BENCH_PROC_H
#define BENCH_PROC_H

// CPU seconds of all threads of the processes named by a comma separated list of ids (NULL: 0). From schedstat, in
// nanoseconds, because utime and stime are counted in ticks of 10 ms and short measurements drown in that.
double cpu_of(const char *pids);

// CPU seconds of every thread on the machine. With the server's and our own taken away, what is left is disturbance.
double cpu_of_all(void);

// Seconds this process was ready to run but had to wait for a CPU.
double own_run_delay(void);

// CPU seconds of this process.
double own_cpu(void);

// A field of /proc/PID/status such as "VmRSS" or "VmHWM", in KiB; 0 if there is none.
long status_kb(const char *pid, const char *field);

#endif
