"""A web shop on FastAPI and uvicorn, as slow as web shops are.

    python app.py [--port N] [--seconds N]

Needs requirements.txt; CPython 3.9 or later. Listens on loopback only, on
a free port unless told; prints `ready PID=<pid> python=<version> port=<port>`
and ends with stdin, at SIGTERM, or after --seconds (120 unless given).

    GET  /products?q=words    regular expressions over all descriptions
    GET  /orders/{number}     one order out of SQLite, as JSON
    POST /orders              checked by pydantic, against a list of blocked
                              addresses, then stored
    GET  /report              a page from a template, from sums in SQLite

Ground truth: `hot`, [function, line]: the membership test in a list that
takes more time than any other line under load.py's requests, and `threads`,
names that uvicorn's and anyio's threads begin with.
"""
import argparse
import contextlib
import os
import random
import re
import socket
import sqlite3
import sys
import threading
from pathlib import Path

import fastapi
import jinja2
import pydantic
import uvicorn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import groundtruth  # noqa: E402

PRODUCTS = 200
BLOCKED = 150000
SCHEMA = """
    CREATE TABLE orders (
        number INTEGER PRIMARY KEY, email TEXT, product INTEGER, quantity INTEGER
    );
    CREATE INDEX orders_by_product ON orders (product);
"""
WORDS = "small large round flat heavy light green blue oak steel glass linen cup pot lid tray".split()
PAGE = jinja2.Environment(autoescape=True).from_string(
    """<!doctype html><title>Report</title>
<table>
{%- for product, orders, quantity in rows %}
<tr class="{{ loop.cycle('odd', 'even') }}"><td>{{ product | title }}</td>
<td>{{ orders }}</td><td>{{ quantity or 0 }}</td></tr>
{%- endfor %}
</table>"""
)


class NewOrder(pydantic.BaseModel):
    email: str = pydantic.Field(min_length=5, max_length=100)
    product: int = pydantic.Field(ge=0, lt=PRODUCTS)
    quantity: int = pydantic.Field(ge=1, le=99)


class Shop:
    def __init__(self):
        chance = random.Random(3)
        self.products = [" ".join(chance.sample(WORDS, 8)) for _ in range(PRODUCTS)]
        self.blocked = ["%06d@example.net" % n for n in range(BLOCKED)]
        self.lock = threading.Lock()
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.executescript(SCHEMA)
        for number in range(500):
            self.store("%d@example.com" % number, number % PRODUCTS, 1)

    def find(self, query):
        words = [re.compile(r"\b%s\b" % re.escape(word)) for word in query.split()[:5]]
        return [
            {"product": number, "description": description}
            for number, description in enumerate(self.products)
            if all(word.search(description) for word in words)
        ]

    def is_blocked(self, email):
        return email in self.blocked  # MARK hot

    def store(self, email, product, quantity):
        with self.lock, self.database:
            cursor = self.database.execute(
                "INSERT INTO orders (email, product, quantity) VALUES (?, ?, ?)",
                (email, product, quantity),
            )
            return cursor.lastrowid

    def order(self, number):
        with self.lock:
            return self.database.execute(
                "SELECT number, email, product, quantity FROM orders WHERE number = ?",
                (number,),
            ).fetchone()

    def sums(self):
        with self.lock:
            rows = self.database.execute(
                "SELECT product, COUNT(*), SUM(quantity) FROM orders GROUP BY product"
            ).fetchall()
        return [(self.products[product], orders, sold) for product, orders, sold in rows]


def application(shop):
    app = fastapi.FastAPI(title="Shop")

    @app.get("/products")
    async def products(q: str = ""):
        return {"query": q, "found": shop.find(q)}

    @app.get("/orders/{number}")
    def order(number: int):
        row = shop.order(number)
        if row is None:
            raise fastapi.HTTPException(404, "no such order")
        return dict(zip(("number", "email", "product", "quantity"), row))

    @app.post("/orders", status_code=201)
    def new_order(order: NewOrder):
        if shop.is_blocked(order.email.lower()):
            raise fastapi.HTTPException(403, "blocked")
        return {"number": shop.store(order.email, order.product, order.quantity)}

    @app.get("/report", response_class=fastapi.responses.HTMLResponse)
    def report():
        return PAGE.render(rows=shop.sums())

    return app


def announcing(app, server, port):
    """Make `app` say ready once it is served, and end with stdin."""

    def watch_stdin():
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        server.should_exit = True

    def ready():
        threading.Thread(target=watch_stdin, name="stdin-watcher", daemon=True).start()
        hot = ["is_blocked", groundtruth.marked_line(__file__, "hot")]
        threads = ["MainThread", "AnyIO worker thread", "stdin-watcher"]
        known = {"hot": hot, "threads": threads}
        groundtruth.announce(known, "port=%d" % port)

    app.router.add_event_handler("startup", ready)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--seconds", type=int, default=groundtruth.LIFE)
    asked = options.parse_args()
    groundtruth.limit_life(asked.seconds)
    # With the protocol named, asyncio turns off the delay of small writes.
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", asked.port))
    app = application(Shop())
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    announcing(app, server, listening.getsockname()[1])
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
