"""Whether an order looks like fraud."""

from decimal import Decimal

from .feed import customers

BLOCKED_CUSTOMERS = 9000
SUSPICIOUS_TOTAL = Decimal("900")
REVIEW_FROM = 3


class FraudCheck:
    """Decides on priced orders: accept, review or reject."""

    def __init__(self, block_list=list):
        self.blocked = block_list(email for _, email in customers(BLOCKED_CUSTOMERS, seed=13))

    def decide(self, priced):
        order = priced.order
        if self.is_blocked(order.customer.email):
            order.flags.append("blocked")
            return "reject"
        suspicions = list(self.suspicions(priced))
        order.flags.extend(flag for flag, _ in suspicions)
        score = sum(weight for _, weight in suspicions)
        return "review" if score >= REVIEW_FROM else "accept"

    def is_blocked(self, email):
        return email in self.blocked

    def suspicions(self, priced):
        """What is odd about an order, each with its weight."""
        order = priced.order
        if priced.total > SUSPICIOUS_TOTAL:
            yield "expensive", 2
        if order.customer.orders_before == 0:
            yield "first order", 1
        if len({item.sku for item in order.items}) < len(order.items):
            yield "same goods twice", 1
        if any(item.quantity > 10 for item in order.items):
            yield "large quantity", 1
        if digits_in(order.customer.email) > 8:
            yield "made-up address", 1


def digits_in(text):
    return sum(character.isdigit() for character in text)
