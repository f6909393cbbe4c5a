"""Call churn in which every possible edge of a stack is known.

    driver -> c_a, c_b, c_c -> d_aa ... d_cc -> e_aaa ... e_ccc

Each function has callees of its own, each call a line of its own, and a call
or return happens every 50 to 200 ns: the hardest thing to read from outside.

Ground truth, from the moment `ready` is printed until the process is gone:
every stack is a fixed bottom (by thread name in `threads`), then edges out
of `edges`, each [caller, line of the call, callee]; `roots` are the oldest
functions. `leaf_lines` holds, for each function that can be innermost, the
lines it can then stand at. One thread named "stdin-watcher" waits in read()
and ends the process without unwinding any stack. --threads N adds N threads
that churn beside the main one; --seconds N bounds a life that is else as
long as stdin's.

Another program may give main() its own module, with a driver and functions
whose names CHURNING knows.
"""
import argparse
import ast
import os
import re
import sys
import threading
import time

import groundtruth

CHURNING = re.compile("(driver|churn|[cdeg]_[abc]+)$")
STARTED = []
BOTTOMS = {}


def e_aaa(x):
    return x ^ 1


def e_aab(x):
    return x ^ 2


def e_aac(x):
    return x ^ 3


def d_aa(x):
    x = e_aaa(x)
    x = e_aab(x)
    x = e_aac(x)
    return x


def e_aba(x):
    return x ^ 4


def e_abb(x):
    return x ^ 5


def e_abc(x):
    return x ^ 6


def d_ab(x):
    x = e_aba(x)
    x = e_abb(x)
    x = e_abc(x)
    return x


def e_aca(x):
    return x ^ 7


def e_acb(x):
    return x ^ 8


def e_acc(x):
    return x ^ 9


def d_ac(x):
    x = e_aca(x)
    x = e_acb(x)
    x = e_acc(x)
    return x


def c_a(x):
    x = d_aa(x)
    x = d_ab(x)
    x = d_ac(x)
    return x


def e_baa(x):
    return x ^ 10


def e_bab(x):
    return x ^ 11


def e_bac(x):
    return x ^ 12


def d_ba(x):
    x = e_baa(x)
    x = e_bab(x)
    x = e_bac(x)
    return x


def e_bba(x):
    return x ^ 13


def e_bbb(x):
    return x ^ 14


def e_bbc(x):
    return x ^ 15


def d_bb(x):
    x = e_bba(x)
    x = e_bbb(x)
    x = e_bbc(x)
    return x


def e_bca(x):
    return x ^ 16


def e_bcb(x):
    return x ^ 17


def e_bcc(x):
    return x ^ 18


def d_bc(x):
    x = e_bca(x)
    x = e_bcb(x)
    x = e_bcc(x)
    return x


def c_b(x):
    x = d_ba(x)
    x = d_bb(x)
    x = d_bc(x)
    return x


def e_caa(x):
    return x ^ 19


def e_cab(x):
    return x ^ 20


def e_cac(x):
    return x ^ 21


def d_ca(x):
    x = e_caa(x)
    x = e_cab(x)
    x = e_cac(x)
    return x


def e_cba(x):
    return x ^ 22


def e_cbb(x):
    return x ^ 23


def e_cbc(x):
    return x ^ 24


def d_cb(x):
    x = e_cba(x)
    x = e_cbb(x)
    x = e_cbc(x)
    return x


def e_cca(x):
    return x ^ 25


def e_ccb(x):
    return x ^ 26


def e_ccc(x):
    return x ^ 27


def d_cc(x):
    x = e_cca(x)
    x = e_ccb(x)
    x = e_ccc(x)
    return x


def c_c(x):
    x = d_ca(x)
    x = d_cb(x)
    x = d_cc(x)
    return x


def driver(x):
    STARTED.append(x)
    while True:
        x = c_a(x)
        x = c_b(x)
        x = c_c(x)


def churn(driver):
    note_bottom(sys._getframe())
    driver(1)


def note_bottom(frame):
    """Remember the frames below the churn: they stay as they are."""
    stack = [[f["func"], f["line"]] for f in groundtruth.stack_of(frame)]
    BOTTOMS[threading.current_thread().name] = stack


def called_lines(tree):
    """Edges between the functions of a file, by its syntax tree.

    A generator is called by whoever goes through it, line for line.
    """
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    functions = [f for f in functions if CHURNING.match(f.name)]
    churning = set(f.name for f in functions)
    for function in functions:
        for node in ast.walk(function):
            callee = getattr(getattr(node, "func", None), "id", None)
            if callee in churning:
                yield [function.name, node.lineno, callee]


def truth(module):
    here = sys.modules[__name__]
    edges = []
    for each in set([here, module]):
        with open(groundtruth.source_of(each.__file__)) as source:
            edges.extend(called_lines(ast.parse(source.read())))
    to_driver = [line for caller, line, _ in edges if caller == "churn"]
    watcher = threading.current_thread().name
    for name, bottom in BOTTOMS.items():
        if name != watcher:
            bottom[-1][1] = to_driver[0]
        for (caller, line), (callee, _) in zip(bottom, bottom[1:]):
            if [caller, line, callee] not in edges:
                edges.append([caller, line, callee])
    leaves = dict((name, here) for name in vars(here) if CHURNING.match(name))
    leaves.update((name, module) for name in vars(module) if CHURNING.match(name))
    return {
        "edges": sorted(edges),
        "roots": sorted(set(bottom[0][0] for bottom in BOTTOMS.values())),
        "threads": BOTTOMS,
        "leaf_lines": dict(
            (name, groundtruth.lines_of(getattr(leaves[name], name))) for name in leaves
        ),
    }


def watch(module, churners, seconds):
    """Say ready when all churn, then wait for the end of stdin."""
    note_bottom(sys._getframe())
    while len(STARTED) < churners:
        time.sleep(0.01)
    known = truth(module)
    groundtruth.limit_life(seconds)
    here = groundtruth.marked_line(__file__, "watching")
    known["leaf_lines"]["watch"] = [here]
    known["threads"]["stdin-watcher"][-1][1] = here
    said = groundtruth.message(known)
    os._exit(os.write(1, said) and len(os.read(0, 1)))  # MARK watching


def main(module):
    options = argparse.ArgumentParser()
    options.add_argument("--threads", type=int, default=0)
    options.add_argument("--seconds", type=int, default=0)
    asked = options.parse_args()
    groundtruth.limit_life()
    for number in range(asked.threads):
        worker = threading.Thread(
            target=churn, args=(module.driver,), name="churner-%d" % number
        )
        worker.daemon = True
        worker.start()
    watcher = threading.Thread(
        target=watch,
        args=(module, asked.threads + 1, asked.seconds),
        name="stdin-watcher",
    )
    watcher.daemon = True
    watcher.start()
    churn(module.driver)


if __name__ == "__main__":
    main(sys.modules[__name__])
