"""The ways of calls_from_c.py that take Python 3.6."""
import asyncio


def by_delegation(end):
    def innermost():
        yield end()

    def delegating():
        yield from innermost()

    def again():
        yield from delegating()

    return list(again())


def by_throw(end):
    def catching():
        try:
            yield 1
        except LookupError:
            yield end()

    generator = catching()
    next(generator)
    return generator.throw(LookupError())


def by_coroutine(end):
    class Awaitable:
        def __await__(self):
            yield end()

    async def inner():
        await Awaitable()

    async def outer():
        await inner()

    return outer().send(None)


def by_asynchronous_generator(end):
    async def numbers():
        yield end()

    async def consume():
        async for number in numbers():
            return number

    try:
        return consume().send(None)
    except StopIteration:
        return None


def by_event_loop(end):
    async def handle():
        await asyncio.sleep(0)
        end()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(handle())
    finally:
        loop.close()


def by_prepared_class(end):
    class Meta(type):
        @classmethod
        def __prepare__(mcs, name, bases):
            end()
            return {}

    class Prepared(metaclass=Meta):
        pass

    return Prepared


def by_subclass(end):
    class Base:
        def __init_subclass__(cls):
            end()

    class Derived(Base):
        pass

    return Derived


WAYS = [
    (by_delegation, [["again", "by_delegation", "list"]]),
    (by_throw, [["catching", "by_throw", None]]),
    (by_coroutine, [["outer", "by_coroutine", None]]),
    (by_asynchronous_generator, []),
    (by_event_loop, [["handle", "_run", "task_step"]]),
    (by_prepared_class, [["__prepare__", "by_prepared_class", "build_class"]]),
    (by_subclass, [["__init_subclass__", "by_subclass", "build_class"]]),
]
