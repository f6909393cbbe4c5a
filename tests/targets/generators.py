"""Generators that drive generators, blocked in the innermost.

Resumed by for loops, next(), send(), throw() and by any() in C; through
generator expressions and through comprehensions, which are functions of
their own in some versions and in others not.

Ground truth: `stack`, oldest first, as the program found it by its frames.
generators_py3.py has `yield from` and coroutines.
"""
import groundtruth


def innermost():
    yield 1
    groundtruth.block()
    raise SystemExit(0)


def caught(numbers):
    try:
        yield 0
    except LookupError:
        for number in numbers:
            yield number


def thrown(numbers):
    yield next(numbers)
    catches = caught(numbers)
    next(catches)
    yield catches.throw(LookupError())


def doubled(numbers):
    for number in numbers:
        yield 2 * number


def received(numbers):
    got = yield 0
    while True:
        got = yield got + next(numbers)


def sent(numbers):
    receives = received(numbers)
    next(receives)
    while True:
        yield receives.send(1)


def by_any(numbers):
    return any(number < 0 for number in numbers)


def by_list(numbers):
    return [by_any(each) for each in (numbers,)]


def by_set(numbers):
    return {len(by_list(each)) for each in (numbers,)}


def by_dict(numbers):
    return {
        key: by_set(each)
        for key, each in
        enumerate([numbers])
    }


def nested(numbers):
    return [[by_dict(cell) for cell in row] for row in ((numbers,),)]


def main():
    groundtruth.limit_life()
    numbers = doubled(thrown(innermost()))
    nested(sent(number + 1 for number in numbers))


if __name__ == "__main__":
    main()
