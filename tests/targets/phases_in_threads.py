"""The phases of phases.py, in threads that end after some thirty milliseconds.

What was learnt of a thread is of no use for the next one, which the interpreter
and the system may put where the one before lay.

Ground truth: as in phases.py.
"""
import threading

import phases

LIFE = 0.03


def in_threads(work):
    """`work` in one thread after another."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


if __name__ == "__main__":
    phases.main([phases.scan, phases.parse, phases.show], in_threads, LIFE)
