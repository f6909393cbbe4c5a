/* A library whose inner function is named when it is compiled. */
__attribute__((noinline)) static int INNER(int (*wait)(void))
{
	return wait() + 1;
}

int run(int (*wait)(void))
{
	return INNER(wait) + 1;
}
