"""What tests let a child process do; little is imported here, since each child imports it."""

import os

from relay.services.child_process import Reporter


def compute_for_ever(reporter: Reporter) -> int:
    """Says which process it is."""
    reporter.report(os.getpid())
    while True:
        pass


def take_memory(_: Reporter) -> int:
    return len(bytearray(2**40))


def fall_over(_: Reporter) -> int:
    words = "a " + "visitor's"
    raise ValueError(words)


def twice(number: int, reporter: Reporter) -> int:
    reporter.progress(1, 2)
    return 2 * number
