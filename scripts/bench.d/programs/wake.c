/* Wakes at absolute deadlines and does nothing: what a profiler of this rate pays for its clock alone. With a process,
 * it makes the fewest system calls that a sample of one thread can have, and looks at nothing that it reads: what a
 * profiler pays whatever it does with the bytes.
 *
 *     wake HZ SECONDS [PID]
 *
 * Prints how often it woke, and in what time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SECOND = 1000000000, STACK = 3072, STATE = 64, PAGE = 4096, FRESH = 50000 };

/* Two places of the target that are in memory: 3 KiB across the end of a page, as the frames of a stack some 20 deep
 * lie, and some words elsewhere, as the state of its thread. */
static struct iovec places[2] = {{NULL, STATE}, {NULL, STACK}};
static char bytes[STATE + STACK];
static int pid, state;

static long long now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (long long)at.tv_sec * SECOND + at.tv_nsec;
}

static void sample(long long at)
{
    static long long looked;
    struct iovec here = {bytes, sizeof bytes};
    char line[256];

    /* What the thread does is known for a while, as that of one that is sampled more often. */
    if (at - looked >= FRESH) {
        looked = at;
        if (pread(state, line, sizeof line, 0) <= 0)
            exit(1);
    }
    if (process_vm_readv(pid, &here, 1, places, 2, 0) != sizeof bytes)
        exit(1);
}

static int find(void)
{
    char path[64], line[512], rights[8];
    unsigned long from, to;
    int found = 0;
    FILE *maps;

    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    if ((maps = fopen(path, "r")) == NULL)
        return 0;
    while (found < 2 && fgets(line, sizeof line, maps) != NULL) {
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) != 3 || rights[0] != 'r' || rights[1] != 'w')
            continue;
        if (to - from >= 4 * PAGE)
            places[found++].iov_base = (void *)(from + PAGE - STACK / 2);
    }
    fclose(maps);
    snprintf(path, sizeof path, "/proc/%d/syscall", pid);
    state = open(path, O_RDONLY | O_CLOEXEC);
    return found == 2 && state >= 0;
}

int main(int argc, char **argv)
{
    long long begin, end, interval, due, wakes = 0, at;

    if (argc < 3 || argc > 4 || atof(argv[1]) < 1) {
        fprintf(stderr, "usage: wake HZ SECONDS [PID]\n");
        return 2;
    }
    if (argc == 4 && ((pid = atoi(argv[3])) <= 0 || !find())) {
        fprintf(stderr, "process %s cannot be looked at\n", argv[3]);
        return 1;
    }
    interval = (long long)(SECOND / atof(argv[1]));
    begin = at = now();
    end = begin + (long long)(SECOND * atof(argv[2]));
    due = begin + interval;
    while (at < end) {
        if (due > at) {
            struct timespec until = {due / SECOND, due % SECOND};
            while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) {
            }
            at = now();
        }
        due += interval * (1 + (at - due) / interval);
        if (pid > 0)
            sample(at);
        wakes++;
        at = now();
    }
    printf("{\"wakes\": %lld, \"seconds\": %.6f}\n", wakes, (double)(at - begin) / SECOND);
    return 0;
}
