"""Where orders come from: a stand-in for the shop's message broker."""

import json
import random

FIRST_NAMES = "Ada Björn Chloé Dmitri Elif Fatou Günter Hana Ivo João Kirsten Łukasz Mei Nils Olga Priya".split()
LAST_NAMES = "Andersson Baptiste Çelik Dvořák Evans Fischer García Hansen Ito Janssen Kowalski Lindqvist Müller".split()
COUNTRIES = "DE FR SE PL ES IT NL CZ PT AT DK FI".split()
COUPONS = (None, None, None, None, "SPRING-10", "WELCOME-5", "BULK-15", "EXPIRED-50")
GOODS = (
    ("TEA-{:03}", "Darjeeling  first flush, {} g", "4.20"),
    ("CUP-{:03}", "Stoneware cup no. {}", "11.90"),
    ("POT-{:03}", "Cast-iron pot, {} cl", "64.00"),
    ("TIN-{:03}", "Tin  with lid, {} ml", "7.35"),
    ("SPN-{:03}", "Measuring spoon {}", "3.10"),
)


def customers(count, seed=7):
    """Addresses of customers, the same ones every time."""
    chance = random.Random(seed)
    for number in range(count):
        first, last = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
        yield f"{first} {last}", f"customer.{number:06}@mail-{chance.randrange(40):02}.example.com"


class Feed:
    """An endless stream of orders as JSON, the same ones every time."""

    def __init__(self, known_customers=5000, seed=1):
        self._chance = random.Random(seed)
        self._customers = list(customers(known_customers))
        self._number = 0

    def poll(self, count):
        """The next so many messages."""
        return [self._next_message() for _ in range(count)]

    def _next_message(self):
        self._number += 1
        name, email = self._chance.choice(self._customers)
        order = {
            "number": self._number,
            "customer": {
                "name": name,
                "email": email.title(),
                "country": self._chance.choice(COUNTRIES),
                "orders_before": self._chance.randrange(30),
            },
            "items": [self._item() for _ in range(self._chance.randint(1, 6))],
            "coupon": self._chance.choice(COUPONS),
            "note": self._chance.choice(("", "Please  leave at the door", "Gift wrap,  please", "Ring twice")),
        }
        return json.dumps(order)

    def _item(self):
        sku, title, price = self._chance.choice(GOODS)
        size = self._chance.randrange(1, 400)
        return {
            "sku": sku.format(size),
            "title": title.format(size),
            "quantity": self._chance.randint(1, 12),
            "unit_price": price,
        }
