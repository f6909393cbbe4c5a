"""Sums up what was sold, as text."""

from collections import defaultdict


def report(storage):
    countries = defaultdict(dict)
    for country, decision, count, cents in storage.totals_by_country():
        countries[country][decision] = (count, cents)
    lines = [f"{'country':<9}{'accepted':>10}{'review':>8}{'rejected':>10}{'revenue':>14}"]
    lines += [country_line(country, decisions) for country, decisions in countries.items()]
    sellers = ", ".join(f"{sku} ({sold})" for sku, sold in storage.best_sellers(5))
    return "\n".join([*lines, f"best sellers: {sellers}"])


def country_line(country, decisions):
    accepted, review, rejected = (decisions.get(name, (0, 0)) for name in ("accept", "review", "reject"))
    revenue = (accepted[1] + review[1]) / 100
    return f"{country:<9}{accepted[0]:>10}{review[0]:>8}{rejected[0]:>10}{revenue:>14,.2f}"
