//! When to look and at whom: the clock, the threads to read, the losses to count.
