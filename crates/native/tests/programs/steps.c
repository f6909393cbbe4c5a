/* After SIGSTOP: much of what code can look like, to be stepped through. Ends in
 * `main`, as the code that runs after it (`_fini`) describes itself nowhere. */
#include <alloca.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

volatile int sink = 3;
volatile double real = 0.5;

/* The stack is realigned: its CFA is an expression that reads memory. */
typedef float wide __attribute__((vector_size(32)));
__attribute__((noinline, target("avx2"))) static float realigned(int n)
{
	volatile wide room[4];
	char *more = alloca(n * 16);
	memset(more, n, n * 16);
	for (int i = 0; i < 4; i++)
		room[i] = (wide){ (float)n, (float)more[1] };
	return room[n & 3][0] + (float)cos(real);
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Calls through the procedure linkage table, back from it, and into the vDSO. */
__attribute__((noinline)) static int library(void)
{
	int values[] = { 3, 1, 2, 5, 4 };
	struct timespec now;
	qsort(values, 5, sizeof *values, compare);
	clock_gettime(CLOCK_MONOTONIC, &now);
	return values[sink] + (int)(now.tv_nsec & 1) + (int)exp(real);
}

static void handler(int signal)
{
	sink += signal > 100;
}

__attribute__((noinline)) static int many(int a, int b, int c, int d, int e, int f, int g, int h)
{
	return a * b + c * d + e * f + g * h + sink;
}

int main(void)
{
	signal(SIGUSR1, handler);
	raise(SIGSTOP);
	sink = (int)realigned(sink) & 3;
	sink = library() & 3;
	sink += many(1, 2, 3, 4, 5, 6, 7, sink) & 1;
	raise(SIGUSR1);
	if (sink > 1000)
		return 1;
	_exit(0);
}
