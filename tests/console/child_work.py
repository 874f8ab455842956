"""What tests let a child process do; little is imported here, since each child imports it."""

import os

from relay.services.child_process import Telling


def compute_for_ever(telling: Telling) -> int:
    """Says which process it is."""
    telling.report(os.getpid())
    while True:
        pass


def take_memory(_: Telling) -> int:
    return len(bytearray(2**40))


def fall_over(_: Telling) -> int:
    words = "a " + "visitor's"
    raise ValueError(words)


def twice(number: int, telling: Telling) -> int:
    telling.progress(1, 2)
    return 2 * number
