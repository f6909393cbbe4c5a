/* A program that loads a library when it is told to by a line, and then waits
 * for the next line in it. */
#include <dlfcn.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

static int wait_for_line(void)
{
	char c = 0;
	while (c != '\n' && read(0, &c, 1) > 0)
		;
	return c == '\n';
}

int main(int argc, char **argv)
{
	printf("ready PID=%d\ntruth {}\n", (int)getpid());
	fflush(stdout);
	if (!wait_for_line() || argc < 2)
		return 0;
	void *library = dlopen(argv[1], RTLD_NOW);
	int (*run)(int (*)(void)) = (int (*)(int (*)(void)))dlsym(library, "run");
	printf("loaded\n");
	fflush(stdout);
	return run(wait_for_line) - 3;
}
