/* A program that makes code at run time and names it in /tmp/perf-PID.map, as
 * compilers just in time do: `keeps` keeps a frame pointer, `moves` only moves
 * the stack pointer. Below both it waits for its standard input, and ends when
 * that does. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int (*work)(void *, void *);

#if defined(__x86_64__)
static const unsigned char keeps[] = {
	0x55,			/* push %rbp */
	0x48, 0x89, 0xe5,	/* mov %rsp, %rbp */
	0x48, 0x89, 0xf8,	/* mov %rdi, %rax */
	0x48, 0x89, 0xf7,	/* mov %rsi, %rdi */
	0xff, 0xd0,		/* call *%rax */
	0x5d,			/* pop %rbp */
	0xc3,			/* ret */
};
static const unsigned char moves[] = {
	0x48, 0x83, 0xec, 0x08,	/* sub $8, %rsp */
	0xff, 0xd7,		/* call *%rdi */
	0x48, 0x83, 0xc4, 0x08,	/* add $8, %rsp */
	0xc3,			/* ret */
};
#elif defined(__aarch64__)
static const unsigned keeps[] = {
	0xa9bf7bfd,		/* stp x29, x30, [sp, #-16]! */
	0x910003fd,		/* mov x29, sp */
	0xaa0003e8,		/* mov x8, x0 */
	0xaa0103e0,		/* mov x0, x1 */
	0xd63f0100,		/* blr x8 */
	0xa8c17bfd,		/* ldp x29, x30, [sp], #16 */
	0xd65f03c0,		/* ret */
};
#define moves keeps
#endif

__attribute__((noinline)) static int wait_here(void *unused)
{
	char c;
	while (read(0, &c, 1) > 0)
		;
	return unused != 0;
}

int main(void)
{
	char name[64];
	char *code = mmap(0, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FILE *map;

	memcpy(code, keeps, sizeof keeps);
	memcpy(code + 256, moves, sizeof moves);
	mprotect(code, 4096, PROT_READ | PROT_EXEC);
	snprintf(name, sizeof name, "/tmp/perf-%d.map", (int)getpid());
	map = fopen(name, "w");
	fprintf(map, "%lx %zx made: keeps\n", (long)code, sizeof keeps);
	fprintf(map, "%lx %zx made: moves\n", (long)(code + 256), sizeof moves);
	fclose(map);
	printf("ready PID=%d\ntruth {}\n", (int)getpid());
	fflush(stdout);
	int left = ((work)code)(code + 256, wait_here);
	unlink(name);
	return left;
}
