"""Sorts numbers and takes their sines and exponentials in NumPy, each in a function of its own, over and over.

--site DIR names where NumPy is installed. It lives until it is killed, ten minutes at most.
"""
import argparse
import site

import groundtruth

SIZE = 200_000


def sorting(numpy, numbers):
    return numpy.sort(numbers)


def sines(numpy, numbers):
    return numpy.sin(numbers)


def exponentials(numpy, numbers):
    return numpy.exp(numbers)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--site", required=True)
    asked = options.parse_args()
    site.addsitedir(asked.site)
    import numpy

    groundtruth.limit_life(600)
    numbers = numpy.random.default_rng(1).random(SIZE)
    groundtruth.announce({})
    while True:
        sorting(numpy, numbers)
        sines(numpy, numbers)
        exponentials(numpy, numbers)


if __name__ == "__main__":
    main()
