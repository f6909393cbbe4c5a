/* A thread that computes in `work` and is interrupted all the time by a signal, whose
 * `handler` computes too, on a stack of its own. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

volatile unsigned sink, over;

__attribute__((noinline)) static unsigned compute(unsigned n)
{
	unsigned all = 0;
	for (unsigned i = 0; i < n; i++)
		all = all * 31 + sink + i;
	return all;
}

static void handler(int signal)
{
	sink += compute(30000) + (unsigned)signal;
}

__attribute__((noinline)) static unsigned work(void)
{
	unsigned all = 0;
	while (!over)
		all += compute(100);
	return all;
}

static void *start(void *arg)
{
	stack_t stack = { .ss_sp = malloc(65536), .ss_size = 65536 };
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec often = { { 0, 50000 }, { 0, 50000 } };
	timer_t timer;
	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	sigset_t mine;
	sigemptyset(&mine);
	sigaddset(&mine, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
	timer_create(CLOCK_MONOTONIC, &event, &timer);
	timer_settime(timer, 0, &often, NULL);
	printf("ready\n");
	fflush(stdout);
	sink = work();
	return arg;
}

int main(void)
{
	pthread_t thread;
	sigset_t theirs;
	char byte;
	sigemptyset(&theirs);
	sigaddset(&theirs, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &theirs, NULL);
	if (pthread_create(&thread, NULL, start, NULL))
		return 1;
	return read(0, &byte, 1) > 1;
}
