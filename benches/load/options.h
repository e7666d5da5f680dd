// What wsload is asked to do. The list of modes and variables stands at the head of wsload.c.
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdint.h>

typedef struct {
    const char *mode, *host, *path, *header, *payload, *server_pids;
    char **headers;
    int port, clients, header_count, hello_opcode, window, receive_buffer;
    int check_seq, arrival, multi, greet, latency, flood, echo, stall, burst, recover;
    double seconds, settle, connect_limit;
    uint64_t expect;
} options;

extern options opt;

// Fills `opt` from the command line and the environment; prints what is wrong and exits with 2 otherwise.
void read_options(int argc, char **argv);

#endif
