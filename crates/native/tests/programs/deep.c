/* Recursion through 1,000 frames of more than 200 bytes. */
#include <signal.h>

volatile int sink;

__attribute__((noinline)) static int descend(int n)
{
	volatile char room[200];
	room[n % 200] = (char)n;
	if (n == 0)
		raise(SIGSTOP);
	else
		descend(n - 1);
	return room[n % 200] + sink;
}

int main(void)
{
	return descend(999) + sink;
}
