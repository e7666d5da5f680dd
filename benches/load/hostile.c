// hostile: a bounded mixture of attackers, who keep a server busy with what nobody wants while its clients are measured.
//
//   hostile HOST PORT PATH CLIENTS SECONDS
//
// Client i is of kind i modulo 5. Each has a turn every TURN_MS, and the turns are spread evenly over that time:
//
//   slow      a request header, one byte a turn; anew when the server has ended it
//   ping      ten pings of 125 bytes a turn; the pongs are never read; anew when the server has ended it
//   garbage   every tenth turn a connection: half of them no HTTP, half random frames behind an upgrade
//   greedy    a subscriber (cookie "greedy") with a small receive buffer that never reads
//   crumbs    ten fragments of one byte a turn, of a message that never ends
//
// Output: "connected=N" when everybody has connected once, then, after SECONDS, "mode=hostile turns=... ended=...
// client_cpu=...". Exit code 1 if nobody could connect.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frames.h"
#include "proc.h"

enum { TURN_MS = 100, BURST = 10, REST = 10, SMALL_BUFFER = 4096 };
enum { SLOW, PINGS, GARBAGE, GREEDY, CRUMBS, KINDS };

typedef struct {
    int fd;        // -1 while there is none
    int upgrading; // the request is sent, the answer has not been read
    int turns;     // since it connected
} attacker;

static const char *host, *path;
static int port, count;
static attacker *all;
static uint64_t turns, ended, refused;
static uint8_t pings[BURST * (125 + FRAME_HEADER_MAX)], crumbs[BURST * 8], noise[512];
static uint8_t crumb_one[8];
static size_t pings_length, crumbs_length, crumb_one_length;

static double monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void leave(attacker *a) {
    if (a->fd >= 0) close(a->fd);
    a->fd = -1;
}

static void gone(attacker *a) {
    ended++;
    leave(a);
}

static void say(attacker *a, const void *data, size_t n) {
    if (send(a->fd, data, n, MSG_NOSIGNAL) < 0 && errno != EAGAIN) gone(a);
}

// Loopback answers at once or not at all, so connecting may block: the listen queue is longer than the crowd.
static int connect_one(attacker *a, int kind) {
    a->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (a->fd < 0) {
        perror("hostile: socket");
        exit(1);
    }
    int on = 1, small = SMALL_BUFFER;
    setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (kind == GREEDY || kind == PINGS) setsockopt(a->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &to.sin_addr);
    if (connect(a->fd, (struct sockaddr *)&to, sizeof to)) {
        refused++;
        leave(a);
        return 0;
    }
    fcntl(a->fd, F_SETFL, O_NONBLOCK);
    a->turns = a->upgrading = 0;
    return 1;
}

static void send_upgrade(attacker *a, const char *name) {
    char request[1024];
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nCookie: %s=1\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                     path, host, port, name);
    a->upgrading = 1;
    say(a, request, (size_t)n);
}

// Reads what is there; 0 when the server has ended the connection.
static int listens(attacker *a) {
    char buffer[4096];
    ssize_t n = recv(a->fd, buffer, sizeof buffer, 0);
    if (n > 0) a->upgrading = 0;
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static void begin(attacker *a, int kind) {
    if (!connect_one(a, kind)) return;
    if (kind == SLOW) {
        char start[256];
        say(a, start, (size_t)snprintf(start, sizeof start, "GET %s HTTP/1.1\r\nHost: %s\r\nX: ", path, host));
    } else if (kind == GREEDY) {
        send_upgrade(a, "greedy");
    } else if (kind == PINGS) {
        send_upgrade(a, "hostile");
    } else if (kind == CRUMBS) {
        send_upgrade(a, "hostile");
        if (a->fd >= 0) say(a, crumb_one, crumb_one_length);
    } else {
        // Which of both a connection is changes from one to the next.
        if (turns & 1) send_upgrade(a, "hostile");
        if (a->fd >= 0) say(a, noise, sizeof noise);
    }
}

static void turn(attacker *a, int kind) {
    turns++;
    if (a->fd < 0) {
        begin(a, kind);
        return;
    }
    a->turns++;
    switch (kind) {
    case SLOW:
        if (!listens(a)) gone(a);
        else say(a, "x", 1);
        break;
    case PINGS:
        if (a->upgrading) listens(a);
        say(a, pings, pings_length);
        break;
    case GARBAGE:
        if (!listens(a)) gone(a);
        else if (a->turns >= REST) leave(a);
        break;
    case GREEDY:
        if (a->upgrading) listens(a);
        break;
    case CRUMBS:
        if (!listens(a)) gone(a);
        else say(a, crumbs, crumbs_length);
        break;
    }
}

static void prepare(void) {
    uint8_t body[125] = {0};
    for (int i = 0; i < BURST; i++) pings_length += frame_masked(pings + pings_length, body, sizeof body, OP_PING);
    for (int i = 0; i < BURST; i++) {
        size_t n = frame_masked(crumbs + crumbs_length, "a", 1, OP_CONTINUATION);
        crumbs[crumbs_length] &= 0x7f;  // not the last
        crumbs_length += n;
    }
    crumb_one_length = frame_masked(crumb_one, "a", 1, OP_TEXT);
    crumb_one[0] &= 0x7f;
    srandom(1);
    // Not the beginning of a request, and a reserved bit for a frame.
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)(random() | (i ? 0 : 0xc0));
}

static void connect_all(void) {
    int connected = 0;
    for (int i = 0; i < count; i++) {
        begin(&all[i], i % KINDS);
        connected += all[i].fd >= 0;
    }
    printf("connected=%d failed=%d\n", connected, count - connected);
    fflush(stdout);
    if (!connected) exit(1);
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: hostile HOST PORT PATH CLIENTS SECONDS\n");
        return 2;
    }
    host = argv[1];
    port = atoi(argv[2]);
    path = argv[3];
    count = atoi(argv[4]);
    double seconds = atof(argv[5]);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    all = calloc((size_t)count, sizeof *all);
    for (int i = 0; i < count; i++) all[i].fd = -1;
    prepare();
    connect_all();
    double start = monotonic(), own0 = own_cpu(), last = start;
    uint64_t due = 0;
    // A millisecond at a time, so that the crowd never comes all at once.
    while (last - start < seconds) {
        uint64_t until = (uint64_t)((last - start) * 1000.0 * count / TURN_MS);
        for (; due < until; due++) {
            int i = (int)(due % (uint64_t)count);
            turn(&all[i], i % KINDS);
        }
        struct timespec rest = {.tv_nsec = 1000000};
        nanosleep(&rest, NULL);
        last = monotonic();
    }
    double span = monotonic() - start;
    printf("mode=hostile n=%d secs=%.3f turns=%lu ended=%lu refused=%lu client_cpu=%.3f\n", count, span, turns, ended,
           refused, (own_cpu() - own0) / span);
    return 0;
}
