"""Runs one benchmark of pyperformance over and over, until it is told to end.

    suite.py DIRECTORY ARGUMENTS...

DIRECTORY holds its `run_benchmark.py`, which asks a module `pyperf` to measure a function. Here nothing is measured:
the function is called again and again.
"""

import argparse
import os
import runpy
import sys
import threading
import time
import types


class Runner:
    """As much of `pyperf.Runner` as benchmarks ask for."""

    def __init__(self, *_, **__):
        self.argparser = argparse.ArgumentParser()
        self.metadata = {}
        self.args = None

    def parse_args(self, arguments=None):
        self.args = self.argparser.parse_args(arguments)
        return self.args

    def bench_func(self, _name, function, *arguments, **__):
        self.repeat(lambda: function(*arguments))

    def bench_time_func(self, _name, function, *arguments, **__):
        self.repeat(lambda: function(1, *arguments))

    def bench_async_func(self, _name, function, *arguments, **__):
        import asyncio

        async def some():
            for _ in range(20):
                await function(*arguments)

        self.repeat(lambda: asyncio.run(some()))

    def repeat(self, once):
        if self.args is None:
            self.parse_args()
        once()
        say = f"ready PID={os.getpid()}\ntruth {{}}\n"
        os.write(OUTPUT, say.encode("ascii"))
        while True:
            once()


def end_with_stdin():
    os.read(0, 1)
    os._exit(0)


# Some benchmarks print.
OUTPUT = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
threading.Thread(target=end_with_stdin, daemon=True).start()
stand_in = types.ModuleType("pyperf")
stand_in.Runner, stand_in.perf_counter = Runner, time.perf_counter
stand_in.python_has_jit = lambda: False
stand_in.python_implementation = lambda: "cpython"
sys.modules["pyperf"] = stand_in
program = os.path.join(sys.argv[1], "run_benchmark.py")
sys.argv[:2] = [program]
sys.path.insert(0, os.path.dirname(program))
runpy.run_path(program, run_name="__main__")
