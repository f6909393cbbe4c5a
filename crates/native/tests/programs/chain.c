/* main, outer, middle, inner: each keeps something across its call. */
#include <signal.h>
#include <stdio.h>

volatile int sink;

__attribute__((noinline)) static int inner(int n)
{
	volatile char room[40];
	room[0] = (char)n;
	raise(SIGSTOP);
	return room[0] + sink;
}

__attribute__((noinline)) static int middle(int n, int m)
{
	volatile int room[300];
	room[n] = m;
	return inner(n + m) + room[n];
}

__attribute__((noinline)) static int outer(int n)
{
	int a = sink, b = sink, c = sink, d = sink;
	return middle(n, 2) + a * b + c * d;
}

int main(void)
{
	return outer(1) + sink;
}
