/* Code for aarch64 with all that matters to unwinding, without a C library:
 * leaves, saved registers, frames beyond one immediate, alloca, signed return
 * addresses, and a signal handler whose return code has no unwind information. */
typedef unsigned long word;

volatile int sink = 1;
volatile char *escape;

static inline long system_call(long number, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}

__asm__(".globl _start\n"
	"_start:\n"
	"	.cfi_startproc\n"
	"	.cfi_undefined x30\n"
	"	mov x29, #0\n"
	"	mov x30, #0\n"
	"	bl begin\n"
	"	.cfi_endproc\n"
	"	.size _start, .-_start\n"
	/* What the kernel's vDSO and C libraries have, the nop before it included:
	 * a call that never returns may end just before. */
	"	nop\n"
	".globl restorer\n"
	"restorer:\n"
	"	mov x8, #139\n"
	"	svc #0\n"
	"	.size restorer, .-restorer\n");
void restorer(void);

__attribute__((noinline)) static int leaf(int n)
{
	return n * sink + 3;
}

__attribute__((noinline)) static int leaf_with_room(int n)
{
	volatile int room[6];
	room[n & 3] = n;
	return room[sink];
}

__attribute__((noinline)) static int saves(int a, int b)
{
	int c = sink, d = sink;
	return leaf(a) + leaf_with_room(b) + c * d;
}

__attribute__((noinline)) static int large(int n)
{
	volatile char room[5000];
	room[n] = (char)n;
	return saves(n, 2) + room[n];
}

__attribute__((noinline)) static int dynamic(int n)
{
	char *room = __builtin_alloca(n * 16 + 16);
	escape = room;
	room[n] = 1;
	return large(n) + room[n];
}

static void handler(int number)
{
	sink = saves(number & 1, 1) > 100 ? 2 : 1;
}

__attribute__((noinline)) static int signalled(int n)
{
	system_call(129 /* kill */, system_call(172 /* getpid */, 0, 0, 0, 0), 10, 0, 0);
	return n + sink;
}

void begin(void)
{
	struct { void (*handler)(int); word flags; void (*restorer)(void); word mask; }
		action = { handler, 0x04000000, restorer, 0 };
	system_call(134 /* rt_sigaction */, 10, (long)&action, 0, 8);
	sink = dynamic(3) > 100 ? 2 : 1;
	sink = signalled(sink) > 100 ? 2 : 1;
	system_call(93 /* exit */, 0, 0, 0, 0);
	for (;;)
		;
}
