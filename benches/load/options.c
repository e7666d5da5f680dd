#define _GNU_SOURCE
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frames.h"

options opt;

static double number_from(const char *name, double otherwise) {
    const char *value = getenv(name);
    return value ? atof(value) : otherwise;
}

static void read_headers(const char *file) {
    FILE *f = fopen(file, "r");
    if (!f) {
        perror(file);
        exit(2);
    }
    char *line = NULL;
    size_t size = 0;
    for (ssize_t n; (n = getline(&line, &size, f)) > 0;) {
        line[strcspn(line, "\r\n")] = 0;
        if (n > 9000 || !line[0]) continue;
        opt.headers = realloc(opt.headers, sizeof *opt.headers * (size_t)(opt.header_count + 1));
        opt.headers[opt.header_count++] = strdup(line);
    }
    free(line);
    fclose(f);
}

void read_options(int argc, char **argv) {
    if (argc < 7) {
        fprintf(stderr, "usage: wsload MODE HOST PORT PATH CLIENTS SECONDS [HEADER] [HELLO or PAYLOAD]\n");
        exit(2);
    }
    opt.mode = argv[1];
    opt.host = argv[2];
    opt.port = atoi(argv[3]);
    opt.path = argv[4];
    opt.clients = atoi(argv[5]);
    opt.seconds = atof(argv[6]);
    opt.header = argc > 7 ? argv[7] : "";
    opt.payload = argc > 8 ? argv[8] : "";
    opt.latency = !strcmp(opt.mode, "latency");
    opt.flood = !strcmp(opt.mode, "flood");
    opt.echo = !strcmp(opt.mode, "echo");
    opt.stall = !strcmp(opt.mode, "stall");
    opt.burst = !strcmp(opt.mode, "burst");
    opt.recover = !strcmp(opt.mode, "recover");
    if (!opt.latency && !opt.flood && !opt.echo && !opt.stall && !opt.burst && !opt.recover &&
        strcmp(opt.mode, "fanout") && strcmp(opt.mode, "idle")) {
        fprintf(stderr, "wsload: unknown mode '%s'; there are fanout latency idle flood echo stall burst recover\n",
                opt.mode);
        exit(2);
    }
    opt.check_seq = getenv("WSLOAD_SEQ") != NULL;
    opt.arrival = getenv("WSLOAD_ARRIVAL") != NULL;
    opt.multi = getenv("WSLOAD_MULTI") != NULL;
    opt.greet = getenv("WSLOAD_READY") != NULL;
    opt.server_pids = getenv("WSLOAD_SRVPID");
    opt.hello_opcode = (int)number_from("WSLOAD_OP", OP_TEXT);
    opt.window = (int)number_from("WSLOAD_WINDOW", 256);
    opt.connect_limit = number_from("WSLOAD_CONNECT_LIMIT", 300);
    opt.settle = number_from("WSLOAD_SETTLE", 1);
    opt.receive_buffer = (int)number_from("WSLOAD_RCVBUF", 0);
    opt.expect = (uint64_t)number_from("WSLOAD_EXPECT", 0);
    if (getenv("WSLOAD_HEADERS")) read_headers(getenv("WSLOAD_HEADERS"));
}
