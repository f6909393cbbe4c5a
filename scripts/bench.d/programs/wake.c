/* Wakes at absolute deadlines and does nothing: what a profiler of this rate pays for its clock alone.
 *
 *     wake HZ SECONDS
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv)
{
    const long long second = 1000000000;
    struct timespec at;
    long long interval, ticks;

    if (argc != 3 || atof(argv[1]) < 1) {
        fprintf(stderr, "usage: wake HZ SECONDS\n");
        return 2;
    }
    interval = (long long)(second / atof(argv[1]));
    ticks = (long long)(atof(argv[2]) * atof(argv[1]));
    clock_gettime(CLOCK_MONOTONIC, &at);
    for (; ticks > 0; ticks--) {
        long long next = at.tv_nsec + interval;
        at.tv_sec += next / second;
        at.tv_nsec = next % second;
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0) {
        }
    }
    return 0;
}
