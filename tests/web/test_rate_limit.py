"""How often somebody may knock: a burst, then a rate, for each caller that is remembered."""

from typing import Any

from relay.clock import Precedence
from relay.intake import Taken
from relay.metrics import Metrics
from relay.web.hook import HOOKS_AT_ONCE, HOOKS_PER_SECOND, Callers, HookRoute, TokenBucket
from relay.web.request_body import BodyReader


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


# -- at the hook's route -------------------------------------------------------------------------------------


def a_knock(token: str, caller: str = "192.0.2.1") -> dict[str, Any]:
    return {"method": "POST", "path": f"/{token}", "client": (caller, 1), "headers": []}


def refused(route: HookRoute, token: str, caller: str = "192.0.2.1") -> int:
    """The status that a request gets before its body is read; 0: it is read."""
    answer = route._refused(a_knock(token, caller))
    return answer.status if answer else 0


async def never(_body: bytes) -> Taken:
    raise AssertionError


def a_route(now: list[float], *tokens: str) -> HookRoute:
    return HookRoute(
        tokens=lambda: tokens,
        take=never,
        trouble=str,
        reader=BodyReader(deadline=10),
        write_deadline=10,
        metrics=Metrics(),
        precedence=Precedence(),
        monotonic=lambda: now[0],
    )


def test_a_token_that_floods_takes_nothing_from_another() -> None:
    """OV-03."""
    now = [1.0]
    route = a_route(now, "first", "second")
    assert {refused(route, "first") for _ in range(HOOKS_AT_ONCE)} == {0}
    assert refused(route, "first") == 429
    assert refused(route, "second") == 0
    now[0] += 1
    assert [refused(route, "first") for _ in range(HOOKS_PER_SECOND + 1)][-2:] == [0, 429]


def test_an_address_that_guesses_takes_nothing_from_another_or_from_the_true_token() -> None:
    route = a_route([1.0], "true")
    assert {refused(route, "guess") for _ in range(100)} == {404, 429}
    assert refused(route, "guess") == 429
    assert refused(route, "guess", caller="192.0.2.2") == 404
    assert refused(route, "true") == 0
