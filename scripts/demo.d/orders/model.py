"""What an order is, and how it is read from JSON and confirmed in it."""

import json
import re
import unicodedata
from dataclasses import dataclass, field
from decimal import Decimal
from typing import List, Optional

ADDRESS = re.compile(r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$")
SPACES = re.compile(r"\s+")


class InvalidOrder(ValueError):
    """An order that cannot be processed, with the reason as its text."""


@dataclass
class Customer:
    name: str
    email: str
    country: str
    orders_before: int = 0


@dataclass
class Item:
    sku: str
    title: str
    quantity: int
    unit_price: Decimal


@dataclass
class Order:
    number: int
    customer: Customer
    items: List[Item]
    coupon: Optional[str] = None
    note: str = ""
    flags: List[str] = field(default_factory=list)


@dataclass
class Priced:
    order: Order
    net: Decimal
    discount: Decimal
    shipping: Decimal
    tax: Decimal

    @property
    def total(self):
        return self.net - self.discount + self.shipping + self.tax


def parse_order(message):
    """The order in a JSON message, cleaned up and checked."""
    try:
        raw = json.loads(message)
        return Order(
            number=int(raw["number"]),
            customer=parse_customer(raw["customer"]),
            items=[parse_item(item) for item in raw["items"]],
            coupon=raw.get("coupon"),
            note=clean_text(raw.get("note", "")),
        )
    except (KeyError, TypeError, ArithmeticError) as error:
        raise InvalidOrder(f"malformed: {error!r}") from error


def parse_customer(raw):
    email = raw["email"].strip().lower()
    if not ADDRESS.match(email):
        raise InvalidOrder(f"not an address: {email!r}")
    return Customer(clean_text(raw["name"]), email, raw["country"].upper(), int(raw.get("orders_before", 0)))


def parse_item(raw):
    quantity = int(raw["quantity"])
    if not 0 < quantity < 1000:
        raise InvalidOrder(f"quantity {quantity}")
    return Item(raw["sku"], clean_text(raw["title"]), quantity, Decimal(raw["unit_price"]))


def clean_text(text):
    return SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip()


def confirmation(priced, decision):
    """The JSON that goes back to the shop."""
    order = priced.order
    return json.dumps(
        {
            "number": order.number,
            "customer": order.customer.name,
            "decision": decision,
            "flags": order.flags,
            "items": [
                {"sku": item.sku, "title": item.title, "quantity": item.quantity, "price": str(item.unit_price)}
                for item in order.items
            ],
            "net": str(priced.net),
            "discount": str(priced.discount),
            "shipping": str(priced.shipping),
            "tax": str(priced.tax),
            "total": str(priced.total),
        },
        ensure_ascii=False,
        sort_keys=True,
    )
