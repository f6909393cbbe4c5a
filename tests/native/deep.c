/* A thread that goes down a recursion of more than 64 KB and up again, without end. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

volatile unsigned sink;

__attribute__((noinline)) static unsigned descend(unsigned n)
{
	volatile unsigned room[60];
	room[n % 60] = n;
	return n ? descend(n - 1) + room[n % 60] : room[0] + sink;
}

static void *start(void *arg)
{
	printf("ready\n");
	fflush(stdout);
	for (;;)
		sink += descend(400);
	return arg;
}

int main(void)
{
	pthread_t thread;
	char byte;
	if (pthread_create(&thread, NULL, start, NULL))
		return 1;
	return read(0, &byte, 1) > 1;
}
