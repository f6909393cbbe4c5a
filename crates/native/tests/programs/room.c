/* Frames whose size depends on what the program does, between others: only a
 * frame pointer says where they end. Stale frames lie in them. With FLEXIBLE the
 * newest is one of them. */
#include <alloca.h>
#include <signal.h>
#include <unistd.h>

volatile int sink;

__attribute__((noinline)) static int inner(int n)
{
#ifdef FLEXIBLE
	volatile int *room = alloca((unsigned)(sink + n) * 100);
#else
	volatile int room[20];
#endif
	room[n & 7] = n;
	/* Unlike `raise` this uses no registers that have to be saved. */
	kill(getpid(), SIGSTOP);
	return room[n & 7] + sink;
}

/* Calls like those of `flexible`, from where its frame will be. */
__attribute__((noinline)) static int before(int n)
{
	volatile int room[100];
	room[n & 7] = n;
	return n > 0 ? before(n - 1) + room[n & 7] : room[n & 7];
}

__attribute__((noinline)) static int flexible(int n)
{
	volatile char *room = alloca((unsigned)(sink + n) * 100);
	room[n] = 1;
	return inner(n) + room[n];
}

__attribute__((noinline)) static int outer(int n)
{
	int stale = before(n);
	return flexible(n) + stale * sink;
}

int main(void)
{
	return outer(5) + sink;
}
