/* Calls functions of another object by stubs. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef TAKE
char *(*volatile taken)(const char *) = getenv;
#endif

int main(int argc, char **argv) {
    return getppid() + (getenv(argv[0]) != 0) + (int)strlen(argv[argc - 1]);
}
