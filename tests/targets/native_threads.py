"""A library that works in a thread of its own, which Python knows nothing of.

    native_threads.py LIBRARY

LIBRARY is native_threads.c as a shared object. Beside it a Python thread "busy"
works in `busy_loop`, and the main thread waits.

Ground truth: `stack`, of the main thread.
"""
import ctypes
import sys
import threading

import groundtruth


def busy_loop():
    x = 1
    while True:
        x = (x * 31 + 7) % 1000003


def main():
    groundtruth.limit_life()
    ctypes.CDLL(sys.argv[1]).start_threads()
    busy = threading.Thread(target=busy_loop, name="busy")
    busy.daemon = True
    busy.start()
    groundtruth.block()


if __name__ == "__main__":
    main()
