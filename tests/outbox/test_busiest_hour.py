"""What is a flood of chats: far more than in the busiest hour of a usual day."""

from itertools import accumulate

import pytest

from relay.alerts.problem_detection import busiest_hour, counts_of

DAY = 24


@pytest.mark.parametrize(
    ("begun", "counts"),
    [
        ({}, {}),
        ({5: 100}, {}),
        ({5: 100, 6: 130, 7: 130}, {5: 30, 6: 0}),
        ({5: 100, 7: 130, 8: 140}, {7: 10}),  # off in between: nobody knows when they came
        ({5: 100, 6: 20}, {5: 0}),  # chats were erased
    ],
)
def test_an_hour_counts_where_its_beginning_and_end_are_known(
    begun: dict[int, int], counts: dict[int, int]
) -> None:
    assert counts_of(begun) == counts


def test_a_flood_of_some_days_does_not_become_the_usual() -> None:
    quiet = [2, 9, 4, *[0] * (DAY - 3)]
    flooded = [3_000] * DAY
    begun = dict(enumerate(accumulate([0, *quiet * 8, *flooded * 5])))
    assert busiest_hour(counts_of(begun)) == 9
    assert busiest_hour({}) == 0
