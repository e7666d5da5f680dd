// wsload: a single-threaded epoll WebSocket load client that knows nothing of the servers it measures.
//
//   wsload MODE HOST PORT PATH CLIENTS SECONDS [HEADER] [HELLO or PAYLOAD]
//
//   fanout    count the data frames that CLIENTS clients receive
//   latency   the same, and a histogram of now minus the "ts_us":<unix microseconds> in each frame
//   idle      connect, answer pings, count whatever comes
//   flood     send PAYLOAD as fast as the server reads it
//   echo      one PAYLOAD in flight per client, and a histogram of round trips
//   stall     connect, then never read again
//   burst     connect, stop reading until SIGUSR1, then read; SECONDS count from the signal
//   recover   count from the first connect on, and say when each client has what it expects
//
//   HEADER is one more request header, HELLO a text frame sent after the upgrade; either may be "".
//
// Environment:
//   WSLOAD_SEQ=1           check that "seq":<n> grows by one per client; count gaps and repetitions
//   WSLOAD_ARRIVAL=1       latencies end when the kernel has a message for the socket, not when this process gets to read it
//   WSLOAD_MULTI=1         a frame may hold several messages: count "seq": keys instead of frames
//   WSLOAD_OP=2            opcode of HELLO (1 text, 2 binary)
//   WSLOAD_READY=1         a client counts as connected when its first data frame is there, not at the 101
//   WSLOAD_HEADERS=FILE    one header per line; client i sends line i (modulo their number) besides HEADER
//   WSLOAD_WINDOW=256      upgrades under way at the same time
//   WSLOAD_CONNECT_LIMIT=300  seconds after which clients that are not yet connected are given up
//   WSLOAD_SETTLE=1        seconds between the last connect and the start of the measurement
//   WSLOAD_RCVBUF=N        SO_RCVBUF of the clients, to keep a backlog on the server's side
//   WSLOAD_EXPECT=N        burst, recover: say "delivered" once each client has N data frames
//   WSLOAD_SRVPID=PID,...  the server's processes: their CPU, and the memory of the first, go into the result
//
// Output, flushed line by line: "connected=..." once the clients are connected, "mode=..." at the end, both as
// key=value pairs; in burst mode also "stalled" and "delivered after_s=...", in recover mode the latter. Exit code 1 if nobody could connect.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "frames.h"
#include "latency.h"
#include "options.h"
#include "proc.h"

enum {
    READ_BUFFER = 1 << 18,       // one buffer for all clients: large reads make the client cheap
    CLIENTS_PER_ADDRESS = 25000  // a loopback address has about 28,000 ephemeral ports
};

// What everybody has used up to a moment: seconds of CPU, but `at` is the clock.
typedef struct {
    double at, own, delay, server, all;
} usage;

totals sum;
int counting;
static client *clients;
static int epoll_fd;
static uint8_t buffer[READ_BUFFER + 64];  // zeros behind the end stop a number that is cut off there
static uint8_t *one, *block;  // the masked payload, and many of them in a row
static size_t one_length, block_length, block_messages;
static volatile sig_atomic_t may_read;

static double monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void on_sigusr1(int number) {
    (void)number;
    may_read = 1;
}

// ---- One client's life -----------------------------------------------------------------------------------------

void drop(client *c) {
    if (c->state == DEAD) return;
    if (c->state == OPEN) sum.closed++;
    else sum.failed++;
    c->state = DEAD;
    close(c->fd);
}

static void want(int i, uint32_t events) {
    struct epoll_event e = {.events = events, .data.u32 = (uint32_t)i};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, clients[i].fd, &e);
}

static void begin(int i) {
    client *c = &clients[i];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    if (fd < 0) {
        perror("wsload: socket");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (opt.arrival) setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){1}, sizeof(int));
    if (opt.receive_buffer) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &opt.receive_buffer, sizeof opt.receive_buffer);
    // The port is chosen at connect, when the whole four-tuple is known, so that each address yields all its ports.
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(i / CLIENTS_PER_ADDRESS));
    if (bind(fd, (struct sockaddr *)&from, sizeof from)) perror("wsload: bind");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    inet_pton(AF_INET, opt.host, &to.sin_addr);
    c->fd = fd;
    c->state = CONNECTING;
    c->seq = -1;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        perror("wsload: connect");
        drop(c);
        return;
    }
    struct epoll_event e = {.events = EPOLLOUT | EPOLLIN, .data.u32 = (uint32_t)i};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

static void send_upgrade(int i) {
    char request[10240];
    const char *own = opt.header_count ? opt.headers[i % opt.header_count] : "";
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s\r\n",
                     opt.path, opt.host, opt.port, opt.header, opt.header[0] ? "\r\n" : "", own, own[0] ? "\r\n" : "");
    if (send(clients[i].fd, request, (size_t)n, MSG_NOSIGNAL) != n) drop(&clients[i]);
    else clients[i].state = UPGRADING;
}

static void send_hello(client *c) {
    size_t n = strlen(opt.payload);
    uint8_t *frame = malloc(n + FRAME_HEADER_MAX);
    size_t length = frame_masked(frame, opt.payload, n, opt.hello_opcode);
    if (send(c->fd, frame, length, MSG_NOSIGNAL) != (ssize_t)length) drop(c);
    free(frame);
}

void send_one(client *c) {
    c->sent_us = unix_us();
    if (send(c->fd, one, one_length, MSG_NOSIGNAL) != (ssize_t)one_length) drop(c);
    else sum.sent++;
}

void opened(client *c) {
    c->state = OPEN;
    sum.opened++;
}

// The answer to the upgrade is there as a whole: 101 or not.
static void upgraded(client *c, const uint8_t *answer, size_t n) {
    if (!memmem(answer, n, " 101", 4)) {
        static int told;
        if (!told++) fprintf(stderr, "wsload: refused: %.*s\n", (int)n, (const char *)answer);
        drop(c);
        return;
    }
    if (opt.greet) c->state = GREETING;
    else opened(c);
    if (opt.payload[0] && !opt.flood && !opt.echo) send_hello(c);
}

// ---- Readiness -------------------------------------------------------------------------------------------------

static void keep(client *c, size_t from, size_t length) {
    size_t left = length - from;
    if (left) {
        if (c->capacity < left) {
            c->capacity = (uint32_t)left + 256;
            c->kept = realloc(c->kept, c->capacity);
        }
        memcpy(c->kept, buffer + from, left);
    }
    c->have = (uint32_t)left;
}

// Like recv; with WSLOAD_ARRIVAL it also sets arrived_us to when the last of the bytes came.
static ssize_t receive(int fd, uint8_t *to, size_t room) {
    if (!opt.arrival) return recv(fd, to, room, 0);
    struct iovec piece = {to, room};
    uint64_t control[8];
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &message, 0);
    arrived_us = 0;
    for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&message) : NULL; c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) continue;
        struct timespec t;
        memcpy(&t, CMSG_DATA(c), sizeof t);
        arrived_us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
    }
    return n;
}

static void on_readable(int i) {
    client *c = &clients[i];
    // A client that is always readable must not starve the others: the rest waits for the next turn.
    for (int turn = 0; turn < 4; turn++) {
        size_t before = c->have, room = READ_BUFFER - before;
        if (before) memcpy(buffer, c->kept, before);
        ssize_t n = receive(c->fd, buffer + before, room);
        if (n <= 0) {
            if (n == 0 || errno != EAGAIN) drop(c);
            return;
        }
        size_t length = before + (size_t)n, k = 0;
        c->have = 0;
        if (c->state == UPGRADING) {
            uint8_t *end = memmem(buffer, length, "\r\n\r\n", 4);
            if (end) {
                k = (size_t)(end - buffer) + 4;
                upgraded(c, buffer, k - 4);
            }
        }
        if (c->state == OPEN || c->state == GREETING) k += opt.multi ? take_messages(c, buffer + k, length - k) : take_frames(c, buffer + k, length - k);
        if (c->state == DEAD) return;
        keep(c, k, length);
        if ((size_t)n < room) return;
    }
}

static void flood(client *c) {
    for (int turn = 0; turn < 4; turn++) {
        ssize_t n = send(c->fd, block + c->written, block_length - c->written, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) drop(c);
            return;
        }
        sum.bytes += (uint64_t)n;
        c->written += (uint32_t)n;
        if (c->written < block_length) return;
        c->written = 0;
        sum.sent += block_messages;
    }
}

static void on_writable(int i) {
    client *c = &clients[i];
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            drop(c);
            return;
        }
        send_upgrade(i);
        if (c->state != DEAD) want(i, EPOLLIN);
    } else if (opt.flood && c->state == OPEN) {
        flood(c);
    }
}

// Serves the sockets until the given time, or until enough clients are connected or given up, or (burst) until the
// signal or the last expected frame.
static void pump(double until, int enough, int until_signal) {
    struct epoll_event events[1024];
    while (monotonic() < until) {
        if (enough && sum.opened + sum.failed >= enough) return;
        if (until_signal && may_read) return;
        double left = (until - monotonic()) * 1000;
        int n = epoll_wait(epoll_fd, events, 1024, left > 100 ? 100 : left > 0 ? (int)left : 0);
        for (int j = 0; j < n; j++) {
            int i = (int)events[j].data.u32;
            if (clients[i].state != DEAD && events[j].events & EPOLLOUT) on_writable(i);
            if (clients[i].state != DEAD && events[j].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(i);
        }
        if (opt.expect && sum.satisfied == opt.clients) return;
    }
}

static void want_all(uint32_t events) {
    for (int i = 0; i < opt.clients; i++) {
        if (clients[i].state == OPEN) want(i, events);
    }
}

// ---- The measurement -------------------------------------------------------------------------------------------

static void prepare_payload(void) {
    size_t n = strlen(opt.payload);
    one = malloc(n + FRAME_HEADER_MAX);
    one_length = frame_masked(one, opt.payload, n, OP_TEXT);
    block_messages = 65536 / one_length ? 65536 / one_length : 1;
    block_length = block_messages * one_length;
    block = malloc(block_length);
    for (size_t i = 0; i < block_messages; i++) memcpy(block + i * one_length, one, one_length);
}

static void connect_all(void) {
    double server0 = cpu_of(opt.server_pids), own0 = own_cpu(), start = monotonic();
    int started = 0;
    while (sum.opened + sum.failed < opt.clients && monotonic() - start < opt.connect_limit) {
        while (started < opt.clients && started - sum.opened - sum.failed < opt.window) begin(started++);
        pump(monotonic() + 1, sum.opened + sum.failed + 1, 0);
    }
    double took = monotonic() - start;
    printf("connected=%d failed=%d connect_s=%.4f conn_per_s=%.0f connect_client_cpu_s=%.4f", sum.opened,
           opt.clients - sum.opened, took, sum.opened / took, own_cpu() - own0);
    if (opt.server_pids) printf(" connect_srv_cpu_s=%.4f", cpu_of(opt.server_pids) - server0);
    printf("\n");
    fflush(stdout);
    if (!sum.opened) exit(1);
}

static void start_work(void) {
    if (opt.flood) want_all(EPOLLIN | EPOLLOUT);
    // A socket with unread data is always readable: without taking the interest away the client would spin.
    if (opt.stall || opt.burst) want_all(0);
    if (opt.echo) {
        counting = 1;
        for (int i = 0; i < opt.clients; i++) {
            if (clients[i].state == OPEN) send_one(&clients[i]);
        }
        pump(monotonic() + 0.5, 0, 0);
    }
    if (opt.burst) {
        printf("stalled\n");
        fflush(stdout);
        pump(monotonic() + opt.connect_limit, 0, 1);
        want_all(EPOLLIN);
    }
}

static void start_counting(void) {
    sum.frames = sum.bytes = sum.wsframes = sum.sent = sum.gaps = sum.dups = sum.control = 0;
    for (int i = 0; i < opt.clients; i++) clients[i].frames = 0;
    latency_reset();
    counting = 1;
}

static usage use_now(void) {
    return (usage){.at = monotonic(), .own = own_cpu(), .delay = own_run_delay(), .server = cpu_of(opt.server_pids),
                   .all = cpu_of_all()};
}

static void report(double took, usage before, usage after, long rss0) {
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < opt.clients; i++) {
        if (clients[i].frames < least) least = clients[i].frames;
        if (clients[i].frames > most) most = clients[i].frames;
    }
    double span = after.at - before.at, own = after.own - before.own, server = after.server - before.server;
    printf("mode=%s n=%d secs=%.3f frames=%lu frames_per_s=%.0f MB_per_s=%.1f sent_per_s=%.0f", opt.mode, opt.clients,
           took, sum.frames, (double)sum.frames / took, (double)sum.bytes / took / 1e6, (double)sum.sent / took);
    printf(" gaps=%lu dups=%lu ctrl=%lu closed=%lu min_frames=%lu max_frames=%lu client_cpu=%.3f", sum.gaps, sum.dups,
           sum.control, sum.closed, least, most, own / span);
    if (latency_count()) {
        printf(" lat_n=%lu p50_ms=%.3f p90_ms=%.3f p99_ms=%.3f p999_ms=%.3f max_ms=%.3f", latency_count(),
               latency_percentile(.5), latency_percentile(.9), latency_percentile(.99), latency_percentile(.999),
               latency_percentile(1 - 1e-12));
    }
    if (opt.server_pids) {
        printf(" client_delay=%.3f other_cpu=%.3f srv_cpu_s=%.4f srv_cpu=%.4f", (after.delay - before.delay) / span,
               (after.all - before.all - own - server) / span, server, server / span);
        printf(" rss0_kb=%ld rss1_kb=%ld peak_kb=%ld", rss0, status_kb(opt.server_pids, "VmRSS"),
               status_kb(opt.server_pids, "VmHWM"));
    }
    if (opt.multi) printf(" wsframes=%lu", sum.wsframes);
    printf("\n");
}

static void measure(double start) {
    long rss0 = opt.server_pids ? status_kb(opt.server_pids, "VmRSS") : 0;
    usage before = use_now();
    if (!opt.recover) {
        start_counting();
        start = monotonic();
    }
    double end = start + opt.seconds;
    if (!opt.expect || sum.satisfied < opt.clients) pump(end, 0, 0);
    if (opt.expect && sum.satisfied == opt.clients) {
        printf("delivered after_s=%.3f\n", monotonic() - start);
        fflush(stdout);
        opt.expect = 0;
        if (!opt.recover) pump(end, 0, 0);
    }
    counting = 0;
    double took = monotonic() - start;
    report(took, before, use_now(), rss0);
}

// ---- From start to end -----------------------------------------------------------------------------------------------

int main(int argc, char **argv) {
    read_options(argc, argv);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct sigaction action = {.sa_handler = on_sigusr1};
    sigaction(SIGUSR1, &action, NULL);

    clients = calloc((size_t)opt.clients, sizeof *clients);
    epoll_fd = epoll_create1(0);
    if (opt.flood || opt.echo) prepare_payload();
    double start = monotonic();
    if (opt.recover) start_counting();
    connect_all();
    if (!opt.recover) pump(monotonic() + opt.settle, 0, 0);
    start_work();
    measure(start);
    return 0;
}
