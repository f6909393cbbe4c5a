"""Asks the web shop for things, as a few impatient customers would.

    python load.py PORT [--clients N] [--seconds N] [--requests N]

Loopback only. At most 16 clients, 60 seconds and 20,000 requests, whichever
comes first; ends early if the shop goes away. Prints `load requests=<n>
errors=<n> seconds=<s>`; exits with 1 if nothing was answered.
"""
import argparse
import http.client
import json
import random
import sys
import threading
import time

HOST = "127.0.0.1"
MOST_CLIENTS, MOST_SECONDS, MOST_REQUESTS = 16, 60, 20000
WORDS = "small large round flat oak steel glass cup pot".split()


class Load:
    def __init__(self, port, clients, seconds, requests):
        self.port = port
        self.left = requests
        self.end = time.monotonic() + seconds
        self.answered = self.errors = 0
        self.lock = threading.Lock()
        self.clients = [
            threading.Thread(target=self.be_client, args=(n,), name="client-%d" % n)
            for n in range(clients)
        ]

    def run(self):
        for client in self.clients:
            client.start()
        for client in self.clients:
            client.join()

    def may_go_on(self):
        with self.lock:
            self.left -= 1
            return self.left >= 0 and time.monotonic() < self.end

    def be_client(self, seed):
        chance = random.Random(seed)
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            while self.may_go_on():
                connection.request(*request(chance))
                response = connection.getresponse()
                response.read()
                with self.lock:
                    self.answered += 1
                    self.errors += response.status >= 500
        except (OSError, http.client.HTTPException):
            with self.lock:
                self.errors += 1
        finally:
            connection.close()


def request(chance):
    """Arguments of one request: method, path, body, headers."""
    kind = chance.random()
    if kind < 0.45:
        order = {
            "email": "%06d@example.com" % chance.randrange(10**6),
            "product": chance.randrange(200),
            "quantity": chance.randint(1, 9),
        }
        return "POST", "/orders", json.dumps(order), {"Content-Type": "application/json"}
    if kind < 0.65:
        return "GET", "/products?q=" + "+".join(chance.sample(WORDS, 2)), None, {}
    if kind < 0.95:
        return "GET", "/orders/%d" % chance.randint(1, 500), None, {}
    return "GET", "/report", None, {}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("port", type=int)
    options.add_argument("--clients", type=int, default=4)
    options.add_argument("--seconds", type=float, default=15)
    options.add_argument("--requests", type=int, default=MOST_REQUESTS)
    asked = options.parse_args()
    load = Load(
        asked.port,
        max(1, min(asked.clients, MOST_CLIENTS)),
        min(asked.seconds, MOST_SECONDS),
        min(asked.requests, MOST_REQUESTS),
    )
    begun = time.monotonic()
    load.run()
    seconds = time.monotonic() - begun
    print("load requests=%d errors=%d seconds=%.1f" % (load.answered, load.errors, seconds))
    sys.exit(load.answered == 0)


if __name__ == "__main__":
    main()
