"""What an order costs: discounts, coupons, shipping and tax, in exact decimals."""

import re
from decimal import ROUND_HALF_EVEN, Decimal

from .model import Priced

CENT = Decimal("0.01")
COUPON = re.compile(r"^(?P<name>[A-Z]+)-(?P<percent>\d{1,2})$")
EXPIRED_COUPONS = {"EXPIRED"}
TAX = {
    "DE": "0.19", "FR": "0.20", "SE": "0.25", "PL": "0.23", "ES": "0.21", "IT": "0.22",
    "NL": "0.21", "CZ": "0.21", "PT": "0.23", "AT": "0.20", "DK": "0.25", "FI": "0.255",
}  # fmt: skip
QUANTITY_DISCOUNTS = ((50, Decimal("0.12")), (20, Decimal("0.07")), (10, Decimal("0.03")))
FREE_SHIPPING_FROM = Decimal("150")


def price(order):
    net = sum((line_price(item) for item in order.items), Decimal(0))
    discount = min(net, quantity_discount(order, net) + coupon_discount(order, net))
    shipping = shipping_cost(order, net - discount)
    tax = rounded((net - discount + shipping) * tax_rate(order.customer.country))
    return Priced(order, rounded(net), rounded(discount), shipping, tax)


def line_price(item):
    return rounded(item.unit_price * item.quantity)


def quantity_discount(order, net):
    count = sum(item.quantity for item in order.items)
    for at_least, share in QUANTITY_DISCOUNTS:
        if count >= at_least:
            return net * share
    return Decimal(0)


def coupon_discount(order, net):
    coupon = COUPON.match(order.coupon or "")
    if coupon is None or coupon["name"] in EXPIRED_COUPONS:
        return Decimal(0)
    return net * Decimal(coupon["percent"]) / 100


def shipping_cost(order, goods):
    if goods >= FREE_SHIPPING_FROM:
        return Decimal(0)
    heavy = sum(item.quantity for item in order.items if item.sku.startswith("POT-"))
    return rounded(Decimal("4.90") + Decimal("2.50") * heavy)


def tax_rate(country):
    return Decimal(TAX.get(country, "0"))


def rounded(amount):
    return amount.quantize(CENT, ROUND_HALF_EVEN)
