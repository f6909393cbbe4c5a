"""The coroutines of coroutine_calls.py, in four threads that take turns of two milliseconds.

Only one of them runs at a time, each on whatever processor is free, as where a server
hands each request to the next thread of a pool.

Ground truth: as in phases.py, of `await_all` and `iterate_all`, which have less
than a hundredth in frames of their own.
"""
import threading

import coroutine_calls
import phases

WORKERS = 4
TURN = 0.002


class Worker(object):
    def __init__(self):
        self.begin = threading.Semaphore(0)
        self.end = threading.Semaphore(0)
        self.work = None
        thread = threading.Thread(target=self.run)
        thread.daemon = True
        thread.start()

    def run(self):
        while True:
            self.begin.acquire()
            self.work()
            self.end.release()


def in_turns():
    workers = [Worker() for _ in range(WORKERS)]

    def run(work):
        workers.append(workers.pop(0))
        workers[0].work = work
        workers[0].begin.release()
        workers[0].end.acquire()

    return run


if __name__ == "__main__":
    phases.main([coroutine_calls.await_all, coroutine_calls.iterate_all], in_turns(), TURN)
