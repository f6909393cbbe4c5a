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

static pthread_barrier_t begun;

static void *grind(void *unused)
{
	static volatile unsigned n = 1;
	pthread_barrier_wait(&begun);
	for (;;)
		n = crunch(n) + 1;
	return unused;
}

static void *linger(void *unused)
{
	pthread_barrier_wait(&begun);
	for (;;)
		pause();
	return unused;
}

void start_threads(void)
{
	pthread_t thread;
	pthread_barrier_init(&begun, 0, 3);
	/* Named here, so that they have their names when this returns. */
	pthread_create(&thread, 0, grind, 0);
	pthread_setname_np(thread, "grinder");
	pthread_create(&thread, 0, linger, 0);
	pthread_setname_np(thread, "lingerer");
	pthread_barrier_wait(&begun);
}
