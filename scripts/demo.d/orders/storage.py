"""Orders in SQLite: one writer, one transaction per batch."""

import sqlite3

SCHEMA = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS orders (
        number INTEGER PRIMARY KEY, customer TEXT NOT NULL, country TEXT NOT NULL,
        decision TEXT NOT NULL, total_cents INTEGER NOT NULL, confirmation TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS orders_by_country ON orders (country, decision);
    CREATE TABLE IF NOT EXISTS items (
        order_number INTEGER NOT NULL, sku TEXT NOT NULL, quantity INTEGER NOT NULL, cents INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS items_by_order ON items (order_number);
"""
KEPT_ORDERS = 4000


class Storage:
    """Keeps the newest orders; to be used by one thread."""

    def __init__(self, path):
        self._database = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._database.executescript(SCHEMA)
        self._database.execute("PRAGMA synchronous = OFF")

    def save(self, done):
        """Write a batch of (priced, decision, confirmation) as one transaction, and forget the oldest orders."""
        orders = [order_row(*each) for each in done]
        items = [row for priced, _, _ in done for row in item_rows(priced.order)]
        if not orders:
            return
        oldest = max(row[0] for row in orders) - KEPT_ORDERS
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?)", orders)
            self._database.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", items)
            self._database.execute("DELETE FROM items WHERE order_number < ?", (oldest,))
            self._database.execute("DELETE FROM orders WHERE number < ?", (oldest,))
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def totals_by_country(self):
        """Rows of country, decision, count of orders, sum in cents."""
        return self._database.execute(
            "SELECT country, decision, COUNT(*), SUM(total_cents) FROM orders GROUP BY country, decision ORDER BY country"
        ).fetchall()

    def best_sellers(self, count):
        """Rows of sku, quantity sold."""
        return self._database.execute(
            "SELECT sku, SUM(quantity) AS sold FROM items GROUP BY sku ORDER BY sold DESC, sku LIMIT ?", (count,)
        ).fetchall()

    def close(self):
        self._database.close()


def order_row(priced, decision, confirmation):
    customer = priced.order.customer
    return priced.order.number, customer.email, customer.country, decision, cents(priced.total), confirmation


def item_rows(order):
    for item in order.items:
        yield order.number, item.sku, item.quantity, cents(item.unit_price)


def cents(amount):
    return int(amount * 100)
