// floor: the cheapest thing a WebSocket server can do on this machine, as a limit to compare with.
//
//   floor PORT BATCH [RATE] [ready]
//
//   Accepts and upgrades clients, and once a second has passed without a new one, writes batches of BATCH framed
//   messages of about 100 bytes to every client in turn: as fast as they read, or RATE messages a second. With
//   "ready" the messages are made once, otherwise each batch is formatted and stamped anew. A client that is not
//   writable is skipped and catches up before anybody gets the next batch.
//
//   BATCH 0 sends nothing by itself and echoes what clients send.
//
// No topics, no parsing of requests, no copies but the kernel's. It ends with the process that started it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frames.h"

enum { MOST_CLIENTS = 100000, MESSAGE_MAX = 160, LISTENER = -1 };

typedef struct {
    int fd, upgraded;
    size_t sent;  // of the present batch
} peer;

static peer *peers;
static int count, listener, epoll_fd, batch, ready;
static double rate, last_accept;
static char *out;  // the present batch
static size_t length;

static double monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void watch(int fd, int index) {
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

static void open_listener(int port) {
    int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 4096)) {
        perror("floor: bind");
        exit(1);
    }
    watch(listener, LISTENER);
}

static void accept_all(void) {
    int on = 1;
    for (int fd; count < MOST_CLIENTS && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        peers[count].fd = fd;
        watch(fd, count++);
        last_accept = monotonic();
    }
}

// Sends each masked frame of what was read back without its mask. A client of this program has one small frame in
// flight, which loopback delivers whole, so that none is ever cut in two.
static void echo(int fd, uint8_t *p, size_t n) {
    uint64_t payload;
    size_t header = frame_header(p, n, &payload);
    if (!header || n < header + 4 + payload) return;
    uint8_t *mask = p + header, *body = mask + 4, *start = body - header;
    for (size_t i = 0; i < payload; i++) body[i] ^= mask[i & 3];
    memmove(start, p, header);
    start[1] &= 0x7f;
    send(fd, start, header + payload, MSG_NOSIGNAL);
}

static void leave(peer *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->upgraded = 0;
}

static void on_readable(peer *c) {
    static const char answer[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    static uint8_t in[65536];
    ssize_t n = recv(c->fd, in, sizeof in, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) leave(c);
        return;
    }
    if (!c->upgraded) {
        send(c->fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
        c->upgraded = 1;
    } else if (!batch) {
        echo(c->fd, in, (size_t)n);
    }
}

static void serve(int wait_ms) {
    struct epoll_event events[256];
    int n = epoll_wait(epoll_fd, events, 256, wait_ms);
    for (int i = 0; i < n; i++) {
        if ((int)events[i].data.u32 == LISTENER) accept_all();
        else on_readable(&peers[events[i].data.u32]);
    }
}

static void fill(void) {
    static uint64_t seq;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    long us = t.tv_sec * 1000000L + t.tv_nsec / 1000;
    length = 0;
    for (int i = 0; i < batch; i++) {
        char *frame = out + length;
        int n = sprintf(frame + 2,
                        "{\"c\":\"U\",\"t\":\"tick\",\"p\":{\"seq\":%lu,\"ts_us\":%ld,\"s\":\"ES\",\"px\":5234.75,"
                        "\"q\":2,\"pad\":\"\"}}",
                        seq++, us);
        frame[0] = (char)(0x80 | OP_TEXT);
        frame[1] = (char)n;
        length += 2 + (size_t)n;
    }
}

static void send_to_all(void) {
    for (int i = 0; i < count; i++) peers[i].sent = 0;
    for (int unfinished = 1; unfinished;) {
        int blocked = unfinished = 0;
        for (int i = 0; i < count; i++) {
            peer *c = &peers[i];
            if (c->sent >= length || !c->upgraded) continue;
            ssize_t n = send(c->fd, out + c->sent, length - c->sent, MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN) {
                leave(c);
                continue;
            }
            if (n < 0) blocked = 1;
            else c->sent += (size_t)n;
            if (c->sent < length) unfinished = 1;
        }
        if (blocked) usleep(50);
    }
}

// Waits until the batch that comes `sent` messages after the start is due.
static void wait_for_turn(double start, double sent) {
    double left = start + sent / rate - monotonic();
    if (left <= 0) return;
    struct timespec t = {.tv_sec = (time_t)left, .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};
    nanosleep(&t, NULL);
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: floor PORT BATCH [RATE] [ready]\n");
        return 2;
    }
    batch = atoi(argv[2]);
    rate = argc > 3 ? atof(argv[3]) : 0;
    ready = argc > 4 && !strcmp(argv[4], "ready");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    peers = calloc(MOST_CLIENTS, sizeof *peers);
    out = malloc((size_t)batch * MESSAGE_MAX + 1);
    epoll_fd = epoll_create1(0);
    open_listener(atoi(argv[1]));
    puts("ready");
    fflush(stdout);

    while (!batch || !count || monotonic() - last_accept < 1) serve(50);
    fill();
    double start = monotonic();
    for (uint64_t sent = 0;; sent += (uint64_t)batch) {
        if (rate > 0) wait_for_turn(start, (double)sent);
        serve(0);
        if (!ready) fill();
        send_to_all();
    }
}
