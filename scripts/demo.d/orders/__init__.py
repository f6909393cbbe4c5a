"""Order processing: feed, workers (parse, price, check, store, confirm), report."""
