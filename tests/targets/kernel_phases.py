"""A function that asks the kernel again and again beside one that only reckons,
by a program that measures how it divides its time.

Each takes some ten microseconds. Whoever stops the thread must not find it in
system calls more often than it is there.

Ground truth: as in phases.py, of `ask` and `reckon`.
"""
import os

import phases


def ask(_):
    os.getppid()
    return 1


def reckon(x):
    for each in range(200):
        x = x ^ each
    return x


if __name__ == "__main__":
    phases.main([ask, reckon])
