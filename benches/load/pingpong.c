// pingpong: how long a raw TCP round trip over loopback takes between two cores that sleep in between.
//
//   pingpong BYTES ROUNDS PAUSE_US     prints "p50_us=... p99_us=..." of half a round trip
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void all(int fd, char *buffer, size_t size, int writes) {
    for (size_t done = 0; done < size;) {
        ssize_t n = writes ? write(fd, buffer + done, size - done) : read(fd, buffer + done, size - done);
        if (n <= 0) exit(0);
        done += (size_t)n;
    }
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: pingpong BYTES ROUNDS PAUSE_US\n"), 2;
    size_t size = (size_t)atol(argv[1]);
    int rounds = atoi(argv[2]), on = 1;
    useconds_t pause_us = (useconds_t)atol(argv[3]);
    char *buffer = calloc(1, size);
    double *times = calloc((size_t)rounds, sizeof *times);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (!buffer || !times || bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1)) return perror("pingpong"), 1;
    getsockname(listener, (struct sockaddr *)&address, &length);
    if (fork() == 0) {
        pin(1);
        int fd = accept(listener, NULL, NULL);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        for (;;) all(fd, buffer, size, 0), all(fd, buffer, size, 1);
    }
    pin(0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, length)) return perror("pingpong"), 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (int i = 0; i < rounds; i++) {
        usleep(pause_us);
        double start = now_us();
        all(fd, buffer, size, 1);
        all(fd, buffer, size, 0);
        times[i] = (now_us() - start) / 2;
    }
    close(fd);
    wait(NULL);
    qsort(times, (size_t)rounds, sizeof *times, by_size);
    printf("p50_us=%.1f p99_us=%.1f\n", times[rounds / 2], times[rounds * 99 / 100]);
}
