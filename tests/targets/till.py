"""A till that waits for a customer's card: the example whose every word is known.

Ground truth: none besides what the tests have written down, line by line; a
change here is a change there.
"""
import os

import groundtruth


class Till(object):
    def checkout(self, basket):
        for item in basket:
            self.wait_for_card(item)

    def wait_for_card(self, item):
        return os.write(1, groundtruth.message({"item": item})) and os.read(0, 1)


if __name__ == "__main__":
    groundtruth.limit_life()
    Till().checkout(["apple"])
