/* Three threads wait, the fourth stops the program. */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

volatile int sink;
static pthread_barrier_t ready;

__attribute__((noinline)) static void wait_forever(void)
{
	pthread_barrier_wait(&ready);
	for (;;)
		pause();
}

static void *waiting(void *arg)
{
	wait_forever();
	sink++;
	return arg;
}

static void *stopping(void *arg)
{
	pthread_barrier_wait(&ready);
	raise(SIGSTOP);
	sink++;
	return arg;
}

int main(void)
{
	pthread_t threads[4];
	pthread_barrier_init(&ready, NULL, 4);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, i == 3 ? stopping : waiting, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
