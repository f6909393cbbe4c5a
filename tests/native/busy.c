/* A thread that computes without end, in `leaf`, called by `work`, called by
 * `spin`; the main thread waits in `wait_here` until its input ends. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

volatile unsigned sink, begun, over;

__attribute__((noinline)) static unsigned leaf(unsigned n)
{
	for (unsigned i = 0; i <= (n & 63); i++)
		sink = sink * 31 + i + 1;
	return sink;
}

__attribute__((noinline)) static unsigned work(unsigned n)
{
	volatile unsigned room[30];
	unsigned a = sink, b = sink;
	room[n % 30] = leaf(n);
	return a * b + room[n % 30] + (n & 7 ? work(n >> 1) : 0);
}

__attribute__((noinline)) static unsigned spin(void)
{
	unsigned all = 0;
	while (!over) {
		all += work(sink);
		begun = 1;
	}
	return all;
}

static void *start(void *arg)
{
	sink = spin();
	return arg;
}

__attribute__((noinline)) static int wait_here(void)
{
	char byte;
	return read(0, &byte, 1) + (int)(sink & 1);
}

int main(void)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, start, NULL))
		return 1;
	while (!begun)
		sched_yield();
	printf("ready\n");
	fflush(stdout);
	return wait_here() > 1;
}
