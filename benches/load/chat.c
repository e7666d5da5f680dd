// chat: clients that talk in rooms, a bounded number of messages in flight each, and check what they hear.
//
//   chat PORT PATH ROOMS MEMBERS WINDOW WARMUP SECONDS
//
// Client i is named cI by its cookie and is in the room room-(I / MEMBERS). It says
//   {"t":"chat.send","p":{"room":"room-R","text":"<number> ..."}}
// and holds it for answered when the room says it back to it. What a room says has "from":"cI" and the text, in any JSON
// with or without blanks after colons. Each member must hear the messages of each sender in order and none twice;
// at the end nothing more is said, and all members must have heard all there was.
//
// WSLOAD_SRVPID and the output are those of wsload: "connected=..." first, then "mode=chat ...".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frames.h"
#include "latency.h"
#include "proc.h"

enum {
    MOST_CLIENTS = 1000,
    MOST_WINDOW = 256,
    MESSAGE_MAX = 256,
    READ_BUFFER = 1 << 17,
    PATIENCE_S = 3  // for what is in flight at the end
};

typedef struct {
    int fd, is_open;
    size_t have;
    uint8_t *buffer;
    int64_t sent, answered, *heard;          // by number; what was heard last of each member of the room
    int64_t said_at[MOST_WINDOW];
} client;

typedef struct {
    double at, own, delay, server, all;
} usage;

static struct {
    uint64_t deliveries, answered, gaps, dups, others, closed;
} sum;
static client clients[MOST_CLIENTS];
static int port, rooms, members, window, count, epoll_fd, speaks = 1;
static const char *path;

static double monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

// ---- Speaking --------------------------------------------------------------------------------------------------

static void say(int i, int messages) {
    static uint8_t frames[MOST_WINDOW * (MESSAGE_MAX + FRAME_HEADER_MAX)];
    client *c = &clients[i];
    size_t length = 0;
    for (int k = 0; k < messages; k++) {
        char text[MESSAGE_MAX];
        int n = snprintf(text, sizeof text,
                         "{\"t\":\"chat.send\",\"p\":{\"room\":\"room-%d\",\"text\":\"%ld hello there, how are you all today?\"}}",
                         i / members, ++c->sent);
        length += frame_masked(frames + length, text, (size_t)n, OP_TEXT);
        c->said_at[c->sent % window] = unix_us();
    }
    // What is in flight fits into the socket's buffer many times.
    if (length && send(c->fd, frames, length, MSG_NOSIGNAL) != (ssize_t)length) fail("chat: send");
}

// ---- Hearing ---------------------------------------------------------------------------------------------------

// The number behind a key and what stands before its value's digits: "from":"c42" or "text": "42 hello".
static int64_t number_after(const uint8_t *p, size_t n, const char *key) {
    const uint8_t *end = p + n, *q = memmem(p, n, key, strlen(key));
    if (!q) return -1;
    for (q += strlen(key); q < end && (*q < '0' || *q > '9'); q++) continue;
    int64_t number = 0;
    for (; q < end && *q >= '0' && *q <= '9'; q++) number = number * 10 + (*q - '0');
    return number;
}

// One message of the room. Returns 1 if it answers one of the client's own.
static int hear(int i, const uint8_t *p, size_t n) {
    client *c = &clients[i];
    int64_t from = number_after(p, n, "\"from\":"), number = number_after(p, n, "\"text\":");
    if (from < 0 || number < 0) {
        // Greetings are no messages; a refusal is one too many, and worth a look.
        static int told;
        if (c->sent && !told++) fprintf(stderr, "chat: heard %.*s\n", (int)(n > 200 ? 200 : n), (const char *)p);
        if (c->sent) sum.others++;
        return 0;
    }
    if (from / members != i / members) {
        sum.others++;
        return 0;
    }
    int64_t *last = &c->heard[from % members];
    if (number > *last + 1) sum.gaps += (uint64_t)(number - *last - 1);
    if (number <= *last) sum.dups++;
    if (number > *last) *last = number;
    sum.deliveries++;
    if (from != i) return 0;
    latency_record(unix_us() - c->said_at[number % window]);
    c->answered++;
    sum.answered++;
    return 1;
}

static void control(client *c, int opcode, const uint8_t *p, size_t n) {
    uint8_t pong[125 + FRAME_HEADER_MAX];
    if (opcode == OP_PING) {
        size_t length = frame_masked(pong, p, n > 125 ? 125 : n, OP_PONG);
        if (send(c->fd, pong, length, MSG_NOSIGNAL) < 0) fail("chat: pong");
    } else if (opcode == OP_CLOSE) {
        sum.closed++;
        c->is_open = 0;
        close(c->fd);
    }
}

static void on_readable(int i) {
    client *c = &clients[i];
    ssize_t n = recv(c->fd, c->buffer + c->have, READ_BUFFER - c->have, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        control(c, OP_CLOSE, NULL, 0);
        return;
    }
    size_t length = c->have + (size_t)n, k = 0;
    int answered = 0;
    while (c->is_open) {
        uint64_t payload;
        size_t header = frame_header(c->buffer + k, length - k, &payload);
        if (!header || length - k < header + payload) break;
        const uint8_t *p = c->buffer + k + header;
        if (is_control(c->buffer[k])) control(c, c->buffer[k] & 0x0f, p, payload);
        else answered += hear(i, p, payload);
        k += header + payload;
    }
    memmove(c->buffer, c->buffer + k, length - k);
    c->have = length - k;
    if (c->is_open && speaks) say(i, answered);
}

static void pump(double until) {
    struct epoll_event events[256];
    for (double left; (left = until - monotonic()) > 0;) {
        int n = epoll_wait(epoll_fd, events, 256, left > 0.1 ? 100 : (int)(left * 1000) + 1);
        for (int j = 0; j < n; j++) {
            if (clients[events[j].data.u32].is_open) on_readable((int)events[j].data.u32);
        }
        if (!speaks) {
            int waiting = 0;
            for (int i = 0; i < count; i++) waiting += clients[i].is_open && clients[i].answered < clients[i].sent;
            if (!waiting && !n) return;
        }
    }
}

// ---- Coming ----------------------------------------------------------------------------------------------------

static void come(int i) {
    client *c = &clients[i];
    int on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to)) fail("chat: connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    char request[512];
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                     "Cookie: name=c%d; room=room-%d\r\n\r\n",
                     path, port, i, i / members);
    if (send(c->fd, request, (size_t)n, MSG_NOSIGNAL) != n) fail("chat: upgrade");
    c->buffer = malloc(READ_BUFFER);
    c->heard = calloc((size_t)members, sizeof *c->heard);
    for (uint8_t *end = NULL; !end;) {
        ssize_t got = recv(c->fd, c->buffer + c->have, READ_BUFFER - c->have, 0);
        if (got <= 0) fail("chat: no answer to the upgrade");
        c->have += (size_t)got;
        if (!(end = memmem(c->buffer, c->have, "\r\n\r\n", 4))) continue;
        if (!memmem(c->buffer, (size_t)(end - c->buffer), " 101", 4)) {
            fprintf(stderr, "chat: refused: %.*s\n", (int)(end - c->buffer), (const char *)c->buffer);
            exit(1);
        }
        c->have -= (size_t)(end + 4 - c->buffer);
        memmove(c->buffer, end + 4, c->have);
    }
    c->is_open = 1;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
}

// ---- Measuring -------------------------------------------------------------------------------------------------

static usage use_now(const char *pids) {
    return (usage){.at = monotonic(), .own = own_cpu(), .delay = own_run_delay(), .server = cpu_of(pids), .all = cpu_of_all()};
}

static uint64_t missing(void) {
    uint64_t lost = 0;
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < members; k++) {
            client *sender = &clients[i / members * members + k];
            if (clients[i].heard[k] < sender->sent) lost += (uint64_t)(sender->sent - clients[i].heard[k]);
        }
    }
    return lost;
}

int main(int argc, char **argv) {
    if (argc != 8) return fprintf(stderr, "usage: chat PORT PATH ROOMS MEMBERS WINDOW WARMUP SECONDS\n"), 2;
    port = atoi(argv[1]), path = argv[2], rooms = atoi(argv[3]), members = atoi(argv[4]), window = atoi(argv[5]);
    count = rooms * members;
    if (count < 1 || count > MOST_CLIENTS || window < 1 || window > MOST_WINDOW) return fprintf(stderr, "chat: too many\n"), 2;
    const char *pids = getenv("WSLOAD_SRVPID");
    epoll_fd = epoll_create1(0);
    for (int i = 0; i < count; i++) come(i);
    pump(monotonic() + 0.5);  // until the server has put them all into their rooms
    printf("connected=%d\n", count);
    fflush(stdout);
    for (int i = 0; i < count; i++) say(i, window);
    pump(monotonic() + atof(argv[6]));

    usage before = use_now(pids);
    sum.deliveries = sum.answered = 0;
    latency_reset();
    pump(monotonic() + atof(argv[7]));
    usage after = use_now(pids);
    uint64_t deliveries = sum.deliveries, answered = sum.answered;
    double span = after.at - before.at, own = after.own - before.own, server = after.server - before.server;
    printf("mode=chat n=%d secs=%.3f messages=%lu deliveries=%lu messages_per_s=%.0f deliveries_per_s=%.0f client_cpu=%.3f", count,
           span, answered, deliveries, (double)answered / span, (double)deliveries / span, own / span);
    printf(" p50_ms=%.3f p99_ms=%.3f", latency_percentile(.5), latency_percentile(.99));
    if (pids) {
        printf(" client_delay=%.3f other_cpu=%.3f srv_cpu_s=%.4f rss1_kb=%ld", (after.delay - before.delay) / span,
               (after.all - before.all - own - server) / span, server, status_kb(pids, "VmRSS"));
    }
    speaks = 0;
    pump(monotonic() + PATIENCE_S);
    printf(" gaps=%lu dups=%lu others=%lu closed=%lu missing=%lu\n", sum.gaps, sum.dups, sum.others, sum.closed, missing());
    return 0;
}
