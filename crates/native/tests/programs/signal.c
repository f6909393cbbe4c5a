/* A handler stops the program while `work` runs; with an argument it has a stack of its own. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

volatile int sink;

__attribute__((noinline)) static void in_handler(void)
{
	raise(SIGSTOP);
	sink++;
}

static void handler(int signal)
{
	(void)signal;
	in_handler();
	sink++;
}

__attribute__((noinline)) static int work(int n)
{
	int a = sink, b = sink;
	kill(getpid(), SIGUSR1);
	return a * b + n;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = handler };
	(void)argv;
	if (argc > 1) {
		stack_t stack = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
		sigaltstack(&stack, NULL);
		action.sa_flags = SA_ONSTACK;
	}
	sigaction(SIGUSR1, &action, NULL);
	return work(3) + sink;
}
