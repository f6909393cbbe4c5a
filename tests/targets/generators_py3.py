"""Coroutines and `yield from`, blocked in the innermost (3.6 and later).

An event loop runs a task that awaits coroutine after coroutine, an object
with __await__, an async generator in an async for, an async context manager;
the innermost calls a plain function, which consumes a chain of `yield from`,
whose end blocks (and with it the loop, as a careless program would).

Ground truth: `stack`, oldest first, as the program found it by its frames;
`waiting`, tasks that wait meanwhile: [name, [[function, line], ...]], name
null before 3.8, oldest coroutine first.
"""
import asyncio
import os
import sys

import groundtruth

WAITING = []


def innermost():
    yield 1
    groundtruth.block(waiting=WAITING)
    os._exit(0)


def delegated(numbers):
    yield from numbers


def delegated_again(numbers):
    return (yield from delegated(numbers))


def consume(numbers):
    for _ in delegated_again(numbers):
        pass


async def rest():
    await asyncio.sleep(0)


class Awaitable:
    def __await__(self):
        yield from rest().__await__()
        return (yield from deeper().__await__())


class Context:
    async def __aenter__(self):
        async for number in numbers():
            return number

    async def __aexit__(self, *_):
        return None


async def numbers():
    consume(innermost())
    yield 1


async def deeper():
    async with Context() as context:
        return context


async def awaiting():
    return await Awaitable()


async def handle_request():
    return [await awaiting() for _ in range(1)]


async def wait_on(event):
    await event.wait()  # MARK waiting


async def keep_waiting(event):
    await wait_on(event)  # MARK keeping


async def start():
    event = asyncio.Event()
    for number in range(3):
        task = asyncio.ensure_future(keep_waiting(event))
        name = "waiting-%d" % number if hasattr(task, "set_name") else None
        if name:
            task.set_name(name)
        keeping = groundtruth.marked_line(__file__, "keeping")
        waiting = groundtruth.marked_line(__file__, "waiting")
        stack = [["keep_waiting", keeping], ["wait_on", waiting]]
        WAITING.append([name, stack])
    await asyncio.sleep(0)
    return await asyncio.ensure_future(handle_request())


def main():
    groundtruth.limit_life()
    if sys.version_info >= (3, 7):
        asyncio.run(start())
    else:
        asyncio.get_event_loop().run_until_complete(start())


if __name__ == "__main__":
    main()
