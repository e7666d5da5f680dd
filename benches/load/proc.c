#define _GNU_SOURCE
#include "proc.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

// The first two numbers of a schedstat file: nanoseconds on a CPU, nanoseconds waiting for one.
static void schedstat(const char *path, unsigned long long *on_cpu, unsigned long long *waiting) {
    *on_cpu = *waiting = 0;
    FILE *f = fopen(path, "r");
    if (!f) return;
    if (fscanf(f, "%llu %llu", on_cpu, waiting) < 2) *waiting = 0;
    fclose(f);
}

static double cpu_of_process(const char *pid) {
    char path[512];
    snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) return 0;
    double seconds = 0;
    for (struct dirent *task; (task = readdir(tasks));) {
        if (!isdigit((unsigned char)task->d_name[0])) continue;
        unsigned long long on_cpu, waiting;
        snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", pid, task->d_name);
        schedstat(path, &on_cpu, &waiting);
        seconds += (double)on_cpu / 1e9;
    }
    closedir(tasks);
    return seconds;
}

double cpu_of(const char *pids) {
    if (!pids) return 0;
    char list[256];
    snprintf(list, sizeof list, "%s", pids);
    double seconds = 0;
    for (char *pid = strtok(list, ","); pid; pid = strtok(NULL, ",")) seconds += cpu_of_process(pid);
    return seconds;
}

double cpu_of_all(void) {
    DIR *proc = opendir("/proc");
    if (!proc) return 0;
    double seconds = 0;
    for (struct dirent *entry; (entry = readdir(proc));) {
        if (isdigit((unsigned char)entry->d_name[0])) seconds += cpu_of_process(entry->d_name);
    }
    closedir(proc);
    return seconds;
}

double own_run_delay(void) {
    unsigned long long on_cpu, waiting;
    schedstat("/proc/self/schedstat", &on_cpu, &waiting);
    return (double)waiting / 1e9;
}

double own_cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

long status_kb(const char *pid, const char *field) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%ld/status", atol(pid));
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    size_t n = strlen(field);
    long kb = 0;
    while (fgets(line, sizeof line, f)) {
        if (!strncmp(line, field, n) && line[n] == ':') {
            kb = atol(line + n + 1);
            break;
        }
    }
    fclose(f);
    return kb;
}
