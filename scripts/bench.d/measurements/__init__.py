"""The measurements. Each has `measure(bench)`, which keeps records, and `tables(records)`, which shows them."""
