"""Pages give way to hooks, and are answered in spite of them."""

import threading

from relay.clock import Precedence
from tests.running import DEADLINE


def test_what_computes_waits_while_something_urgent_is_under_way() -> None:
    precedence, begun, seen = Precedence(waits=DEADLINE), threading.Event(), list[str]()

    def compute() -> None:
        begun.set()
        precedence.give_way()
        seen.append("computed")

    thread = threading.Thread(target=compute)
    with precedence:
        thread.start()
        begun.wait()
        thread.join(0.05)  # time enough to be caught computing
        seen.append("urgent work ended")
    thread.join()
    assert seen == ["urgent work ended", "computed"]


def test_it_never_waits_for_long() -> None:
    """If it did, this would not end: nobody else ends the urgent work."""
    precedence = Precedence()
    with precedence, precedence:
        precedence.give_way()
        precedence.give_way()
    precedence.give_way()
