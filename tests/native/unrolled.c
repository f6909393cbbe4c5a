/* A thread that computes in `unrolled`, which is as kernels of linear algebra are
 * that are written by hand: it describes itself nowhere, moves its stack to a page's
 * start, and is thousands of instructions long without a branch. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

unsigned unrolled(unsigned n);

__asm__(".text\n"
	".globl unrolled\n"
	".type unrolled, @function\n"
	"unrolled:\n"
	"	sub $0x60, %rsp\n"
	"	mov %rbx, (%rsp)\n"
	"	mov %rbp, 8(%rsp)\n"
	"	mov %rsp, %rbx\n"
	"	sub $0x7080, %rsp\n"
	"	and $-4096, %rsp\n"
	"	mov %edi, %eax\n"
	"1:	.rept 2000\n"
	"	imul $31, %eax, %eax\n"
	"	add %edi, %eax\n"
	"	.endr\n"
	"	sub $1, %edi\n"
	"	jg 1b\n"
	"	mov %rbx, %rsp\n"
	"	mov (%rsp), %rbx\n"
	"	mov 8(%rsp), %rbp\n"
	"	add $0x60, %rsp\n"
	"	ret\n"
	".size unrolled, .-unrolled\n");

static void *start(void *arg)
{
	volatile unsigned sink = 0;
	printf("ready\n");
	fflush(stdout);
	for (;;)
		sink += unrolled(100);
	return arg;
}

int main(void)
{
	pthread_t thread;
	char byte;
	if (pthread_create(&thread, NULL, start, NULL))
		return 1;
	return read(0, &byte, 1) > 1;
}
