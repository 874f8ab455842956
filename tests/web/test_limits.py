"""How often somebody may knock: a burst, then a rate, for each caller that is remembered."""

from relay.web.limits import Callers, TokenBucket


def test_after_the_burst_one_more_may_pass_for_each_interval() -> None:
    bucket = TokenBucket(burst=2, per_second=0.5)
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(101.9), bucket.take(102.0), bucket.take(102.1)] == [False, True, False]


def test_who_waits_for_long_gets_the_burst_again_and_no_more() -> None:
    bucket = TokenBucket(burst=2, per_second=1)
    assert [bucket.take(at) for at in (100.0, 100.0, 900.0, 900.0, 900.0)] == [True] * 4 + [False]


def test_each_caller_has_a_rate_of_its_own() -> None:
    callers = Callers(burst=1, per_second=1)
    assert [callers.take(name, 100.0) for name in ("a", "b", "a")] == [True, True, False]


def test_of_too_many_callers_the_one_not_seen_for_longest_is_forgotten() -> None:
    callers = Callers(burst=1, per_second=0.001, most=2)
    for name in ("a", "b", "a", "c"):  # b was seen before a's second knock
        callers.take(name, 100.0)
    assert callers.take("a", 100.0) is False
    assert callers.take("b", 100.0) is True
