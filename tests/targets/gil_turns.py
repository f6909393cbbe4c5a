"""A thread that holds the GIL for a moment and gives it up for another, again and again.

It computes in `within` and sums up a buffer in `outside`, each for some 0.1 ms; C gives
the GIL up for the latter (`zlib_crc32_impl`, Modules/zlibmodule.c, of 3.6 and later; 2.7
keeps it there). The main thread waits in read() in `main`.
"""
import os
import threading
import zlib

import groundtruth

BUFFER = b"\0" * (300 << 10)


def outside(buffer):
    return zlib.crc32(buffer)


def within(x):
    for _ in range(1000):
        x = (x * 31 + 7) % 1000003
    return x


def turns():
    while True:
        within(1)
        outside(BUFFER)


def main():
    groundtruth.limit_life()
    thread = threading.Thread(target=turns, name="turns")
    thread.daemon = True
    thread.start()
    groundtruth.announce({})
    os._exit(len(os.read(0, 1)))


if __name__ == "__main__":
    main()
