// Names of C++: a namespace, a template, a method, a lambda.
#include <csignal>

volatile int sink;

namespace outer {
template <typename T> struct Box {
	T value;
	__attribute__((noinline)) int method(int n) const
	{
		auto lambda = [&](int m) __attribute__((noinline)) {
			raise(SIGSTOP);
			return m + static_cast<int>(value) + sink;
		};
		return lambda(n) + sink;
	}
};

template <typename T> __attribute__((noinline)) int function(T value)
{
	return Box<T>{ value }.method(3) + sink;
}
} // namespace outer

int main()
{
	try {
		return outer::function(1.5) + sink;
	} catch (int) {
		return 1;
	}
}
