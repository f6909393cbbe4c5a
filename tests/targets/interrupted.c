/* Waits in system calls that end with EINTR if they are interrupted, and counts
 * how often they do. At a line on standard input it says how often. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static int counts[3];
static int tids[3];
static int told[2];

static void begin(int number)
{
	tids[number] = syscall(SYS_gettid);
	write(told[1], "x", 1);
}

static void end(int number, long result)
{
	if (result < 0 && errno == EINTR)
		__atomic_fetch_add(&counts[number], 1, __ATOMIC_SEQ_CST);
}

static void *wait_for_events(void *unused)
{
	int poll = epoll_create1(0);
	struct epoll_event event;
	begin(0);
	for (;;)
		end(0, epoll_wait(poll, &event, 1, 60000));
	return unused;
}

static void *receive(void *unused)
{
	int pair[2];
	char c;
	struct timeval minute = {60, 0};
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof minute);
	begin(1);
	for (;;)
		end(1, recv(pair[0], &c, 1, 0));
	return unused;
}

static void *wait_for_signals(void *unused)
{
	sigset_t set;
	struct timespec minute = {60, 0};
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, 0);
	begin(2);
	for (;;)
		end(2, sigtimedwait(&set, 0, &minute));
	return unused;
}

int main(void)
{
	pthread_t thread;
	char c;
	pipe(told);
	pthread_create(&thread, 0, wait_for_events, 0);
	pthread_create(&thread, 0, receive, 0);
	pthread_create(&thread, 0, wait_for_signals, 0);
	for (int i = 0; i < 3; i++)
		read(told[0], &c, 1);
	printf("ready interrupted\n");
	printf("truth {\"threads\": [%d, %d, %d]}\n", tids[0], tids[1], tids[2]);
	fflush(stdout);
	read(0, &c, 1);
	printf("interrupted %d %d %d\n", counts[0], counts[1], counts[2]);
	fflush(stdout);
	return 0;
}
