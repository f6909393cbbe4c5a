/* A program that is not Python: two threads that wait, one that works, each
 * where its name says, told in JSON. Ends when its standard input does. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static int tids[2];

__attribute__((noinline)) static unsigned deepest(unsigned n)
{
	for (unsigned i = 0; i < 1000; i++)
		n = n * 1664525 + 1013904223 + (n >> 16);
	return n;
}

__attribute__((noinline)) static unsigned work(volatile unsigned *n)
{
	for (;;)
		*n = deepest(*n) + 1;
	return *n;
}

static void *spin(void *out)
{
	static volatile unsigned n = 1;
	pthread_setname_np(pthread_self(), "spinner");
	tids[0] = syscall(SYS_gettid);
	write(*(int *)out, "x", 1);
	return (void *)(long)work(&n);
}

__attribute__((noinline)) static void wait_here(int fd)
{
	char c;
	while (read(fd, &c, 1) > 0)
		;
}

static void *wait_there(void *out)
{
	int never[2];
	pipe(never);
	pthread_setname_np(pthread_self(), "waiter (1)");
	tids[1] = syscall(SYS_gettid);
	write(*(int *)out, "x", 1);
	wait_here(never[0]);
	return 0;
}

int main(void)
{
	int told[2];
	char c;
	pthread_t thread;
	pipe(told);
	pthread_create(&thread, 0, spin, &told[1]);
	pthread_create(&thread, 0, wait_there, &told[1]);
	read(told[0], &c, 1);
	read(told[0], &c, 1);
	printf("ready spin\n");
	printf("truth {\"spinner\": %d, \"waiter\": %d}\n", tids[0], tids[1]);
	fflush(stdout);
	wait_here(0);
	return 0;
}
