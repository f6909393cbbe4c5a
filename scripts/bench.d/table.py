"""Tables of medians, as text that is also Markdown."""

import statistics
from collections import defaultdict


class Table:
    """A title, a line on how to read it, and rows of text."""

    def __init__(self, title, about, header, rows, notes=()):
        self.title, self.about, self.header, self.rows, self.notes = title, about, header, rows, list(notes)

    def text(self):
        rows = [[str(cell) for cell in row] for row in [self.header, *self.rows]]
        widths = [max(len(row[column]) for row in rows) for column in range(len(self.header))]
        lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        notes = [f"- {note}" for note in dict.fromkeys(self.notes)]
        parts = [f"### {self.title}", self.about, "\n".join(lines), *(["\n".join(notes)] if notes else [])]
        return "\n\n".join(parts) + "\n"


def grouped(records, *keys):
    """{values of the keys: records}, in the order they came."""
    groups = defaultdict(list)
    for record in records:
        groups[tuple(record[key] for key in keys)].append(record)
    return dict(groups)


def median(values):
    return statistics.median(values) if values else None


def quartiles(values):
    if len(values) < 2:
        return (values[0], values[0]) if values else (None, None)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def number(value, digits=0):
    return "" if value is None else f"{value:,.{digits}f}"


def spread(values, digits=1):
    """`median (lower quartile to upper)`"""
    if not values:
        return ""
    low, high = quartiles(values)
    return f"{number(median(values), digits)} ({number(low, digits)} to {number(high, digits)})"


def ratio(value, to):
    return f"{value / to:.1f}" if value is not None and to else ""


def share(part, whole, digits=2):
    return number(100 * part / whole, digits) if whole else ""


def distinct(values):
    return list(dict.fromkeys(values))


def pivot(records, row_keys, digits, value="value", ratios=()):
    """Header and rows: one row for each value of `row_keys`, one column for each tool with its median, and one for
    each (numerator, denominator) of `ratios` where both were measured."""
    tools = distinct(record["tool"] for record in records)
    pairs = [pair for pair in ratios if pair[0] in tools and pair[1] in tools]
    header = [*(key.capitalize() for key in row_keys), *tools, *(f"{over} / {under}" for over, under in pairs)]
    rows = []
    for key, group in grouped(records, *row_keys).items():
        medians = {tool: median([r[value] for r in group if r["tool"] == tool]) for tool in tools}
        cells = [number(medians[tool], digits) for tool in tools]
        rows.append([*key, *cells, *(ratio(medians[over], medians[under]) for over, under in pairs)])
    return header, rows
