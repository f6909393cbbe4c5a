/* inner is inlined into middle, and that into outer. */
#include <signal.h>

volatile int sink;

static inline __attribute__((always_inline)) int inner(int n)
{
	raise(SIGSTOP); /* line 8 */
	return n + sink;
}

static inline __attribute__((always_inline)) int middle(int n)
{
	return inner(n + 1) * sink; /* line 14 */
}

__attribute__((noinline)) static int outer(int n)
{
	return middle(n) + sink; /* line 19 */
}

__attribute__((noinline)) int visible(int n)
{
	return outer(n) + sink; /* line 24 */
}

int main(void)
{
	return visible(1) + sink; /* line 29 */
}
