/* As signal.c, with a return from the handler that has no unwind information, as musl's. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

volatile int sink;

__asm__("	nop\n"
	"restorer:\n"
	"	mov $15, %rax\n"
	"	syscall\n");
void restorer(void);

static void handler(int signal)
{
	(void)signal;
	raise(SIGSTOP);
	sink++;
}

__attribute__((noinline)) static int work(int n)
{
	int a = sink, b = sink;
	kill(getpid(), SIGUSR1);
	return a * b + n;
}

int main(void)
{
	struct { void (*handler)(int); unsigned long flags; void (*restorer)(void); unsigned long mask; }
		action = { handler, 0x04000000, restorer, 0 };
	syscall(SYS_rt_sigaction, SIGUSR1, &action, 0, 8);
	return work(3) + sink;
}
