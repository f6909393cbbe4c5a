/* A library with threads of its own, one of which works. */
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

__attribute__((noinline)) static unsigned crunch(unsigned n)
{
	for (unsigned i = 0; i < 1000; i++)
		n = n * 1664525 + 1013904223 + (n >> 16);
	return n;
}

static void *grind(void *unused)
{
	static volatile unsigned n = 1;
	pthread_setname_np(pthread_self(), "grinder");
	for (;;)
		n = crunch(n) + 1;
	return unused;
}

static void *linger(void *unused)
{
	pthread_setname_np(pthread_self(), "lingerer");
	for (;;)
		pause();
	return unused;
}

void start_threads(void)
{
	pthread_t thread;
	pthread_create(&thread, 0, grind, 0);
	pthread_create(&thread, 0, linger, 0);
}
