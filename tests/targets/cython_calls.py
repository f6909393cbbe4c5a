"""Python that calls Cython that calls Python.

    cython_calls.py DIRECTORY

DIRECTORY has the module `shapes`, made from shapes.pyx. Ground truth: `stack`,
oldest first.
"""
import sys

import groundtruth

sys.path.insert(0, sys.argv[1])
import shapes


def called():
    groundtruth.block()


def main():
    shapes.both(3, called)


if __name__ == "__main__":
    main()
