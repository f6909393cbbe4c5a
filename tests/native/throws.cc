// A thread that throws exceptions through `descend` and catches them in `attempt`,
// without end.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>

static volatile unsigned sink;

namespace shop {

struct Guard {
	~Guard() { sink = sink + 1; }
};

template <typename T> class Counter {
public:
	__attribute__((noinline)) T descend(T n)
	{
		Guard guard;
		if (n == 0)
			throw std::runtime_error(std::to_string(sink));
		return descend(n - 1) + sink;
	}

	inline __attribute__((always_inline)) T step(T n) { return descend(n) + sink; }
};

__attribute__((noinline)) static unsigned attempt(Counter<unsigned> &counter)
{
	try {
		return counter.step(5);
	} catch (const std::exception &error) {
		return error.what()[0];
	}
}

} // namespace shop

int main()
{
	std::thread thread([] {
		shop::Counter<unsigned> counter;
		std::puts("ready");
		std::fflush(stdout);
		for (;;)
			sink = sink + shop::attempt(counter);
	});
	char byte;
	_exit(read(0, &byte, 1) > 1);
}
