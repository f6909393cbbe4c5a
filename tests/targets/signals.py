"""A signal handler that was itself interrupted by a second signal.

`interrupted` gets SIGUSR1, between two bytecodes; its handler waits in
`first_handler` and gets SIGUSR2 there, inside a system call; the handler of
that, `second_handler`, blocks.

Ground truth: `stack`, oldest first; each handler stands directly above the
function it interrupted, whose line the program has written down.
"""
import os
import select
import signal
import threading

import groundtruth


def second_handler(number, frame):
    SENDER.join()
    groundtruth.block()
    os._exit(0)


def first_handler(number, frame):
    SENDER.start()
    select.select([], [], [], groundtruth.LIFE)


def interrupted():
    os.kill(os.getpid(), signal.SIGUSR1)
    x = 0
    while True:
        x = (x * 17 + 3) % 1000003


def send_to_sleeper(ident):
    """Send SIGUSR2 once the main thread is known to sleep."""
    groundtruth.settle({ident: os.getpid()})
    os.kill(os.getpid(), signal.SIGUSR2)


MAIN = threading.current_thread().ident
SENDER = threading.Thread(target=send_to_sleeper, args=(MAIN,))


def main():
    groundtruth.limit_life()
    signal.signal(signal.SIGUSR1, first_handler)
    signal.signal(signal.SIGUSR2, second_handler)
    interrupted()


if __name__ == "__main__":
    main()
