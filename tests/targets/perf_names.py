"""Functions whose trampolines have their names in a file, under -X perf_jit.

    perf_names.py

CPython writes that file by 2 MiB at a time (Python/perf_jit_trampoline.c), so behind the
functions that stay on the stack it makes as many others as fill that: their own are written
then.

Ground truth: `stack`, oldest first, in which thirty functions are called `named_N`.
"""
import groundtruth

COUNT = 30
# Each takes some hundred bytes in the file, or more.
OTHERS = 20000


def deepest():
    for number in range(OTHERS):
        space = {}
        exec("def other_%d(): pass" % number, space)
        space["other_%d" % number]()
    groundtruth.block()


def main():
    groundtruth.limit_life()
    space = {"named_%d" % COUNT: deepest}
    for number in range(COUNT):
        exec("def named_%d():\n    named_%d()" % (number, number + 1), space)
    space["named_0"]()


if __name__ == "__main__":
    main()
