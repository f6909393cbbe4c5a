"""Threads and queues that take orders from the feed to the database."""

import hashlib
import hmac
import queue
import sys
import threading
import time
import traceback
from collections import Counter

from .feed import Feed
from .fraud import FraudCheck
from .model import InvalidOrder, confirmation, parse_order
from .pricing import price
from .report import report
from .storage import Storage

BATCH = 25
WAITING_BATCHES = 8
REPORT_EVERY = 1.0
END = None
SIGNING_KEY = b"not much of a secret"


class Pipeline:
    def __init__(self, database, workers=3, block_list=list, print_report=False):
        self._database = database
        self._orders = queue.Queue(WAITING_BATCHES)
        self._done = queue.Queue(WAITING_BATCHES)
        self._fraud_check = FraudCheck(block_list)
        self._print_report = print_report
        self._counts = Counter()
        self._stopping = threading.Event()
        self._started = time.monotonic()
        self._threads = [threading.Thread(target=self._feed, name="order-feed")]
        self._threads += [threading.Thread(target=self._work, name=f"order-worker-{n + 1}") for n in range(workers)]
        self._threads.append(threading.Thread(target=self._report, name="reporter"))
        self._writer = threading.Thread(target=self._write, name="order-writer", daemon=True)

    def start(self):
        Storage(self._database).close()
        self._writer.start()
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def wait_for(self, orders, stop):
        """Until so many orders are through, or `stop` is set."""
        while sum(self._counts.values()) < orders and not stop.wait(0.01):
            pass

    def stop(self):
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=10)
        self._done.put(END)
        self._writer.join(timeout=10)

    def summary(self):
        done = sum(self._counts.values())
        seconds = time.monotonic() - self._started
        decisions = ", ".join(f"{count} {decision}" for decision, count in sorted(self._counts.items()))
        return f"{done} orders in {seconds:.1f} s ({done / seconds:.0f} a second): {decisions}"

    def _feed(self):
        feed = Feed()
        while not self._stopping.is_set():
            messages = feed.poll(BATCH)
            while not self._stopping.is_set():
                try:
                    self._orders.put(messages, timeout=0.5)
                    break
                except queue.Full:
                    continue

    def _work(self):
        while not self._stopping.is_set():
            try:
                messages = self._orders.get(timeout=0.5)
            except queue.Empty:
                continue
            self._done.put([self.process(message) for message in messages])

    def process(self, message):
        """One order from its message to what is to be stored; no order is stored for one that is invalid."""
        try:
            order = parse_order(message)
            priced = price(order)
            decision = self._fraud_check.decide(priced)
            return priced, decision, signed(confirmation(priced, decision))
        except InvalidOrder as error:
            return None, "invalid", str(error)
        except Exception:  # One bad order must not end the worker.
            traceback.print_exc(file=sys.stderr)
            return None, "failed", ""

    def _write(self):
        storage = Storage(self._database)
        for done in iter(self._done.get, END):
            storage.save([each for each in done if each[0] is not None])
            self._counts.update(decision for _, decision, _ in done)
        storage.close()

    def _report(self):
        storage = Storage(self._database)
        while not self._stopping.wait(REPORT_EVERY):
            text = report(storage)
            if self._print_report:
                print(text, flush=True)
        storage.close()


def signed(answer):
    signature = hmac.new(SIGNING_KEY, answer.encode(), hashlib.sha256).hexdigest()
    return f"{signature}.{answer}"
