"""`POST /hooks/smartsupp/{token}`: the route that accepts hooks, with its rate limits. docs/http.md lists its answers."""

import asyncio
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.clock import Deadline, Precedence
from relay.crash_points import CrashPoint, reach
from relay.intake import Taken
from relay.metrics import Metrics
from relay.outbox import StorageUnavailable
from relay.smartsupp import UnreadableHook
from relay.web.request_body import (
    NOT_FOUND,
    Answer,
    BodyReader,
    Disconnected,
    NotTaken,
    Receive,
    Send,
    refusal,
    send_answer,
    shutting_down,
)

MOST_CALLERS = 4096


class TokenBucket:
    """A rate limit: `burst` requests at once, then `per_second`. Times are monotonic seconds."""

    __slots__ = ("_burst", "_left", "_per_second", "_seen")

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = burst
        self._seen = 0.0

    def take(self, now: float) -> bool:
        """Count a request; False where it exceeds the limit. `now`: monotonic seconds."""
        if self._seen:
            self._left = min(self._burst, self._left + (now - self._seen) * self._per_second)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Callers:
    """A rate limit per caller. The callers not seen for longest are forgotten."""

    def __init__(self, burst: float, per_second: float, most: int = MOST_CALLERS) -> None:
        self._burst = burst
        self._per_second = per_second
        self._most = most
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, caller: str, now: float) -> bool:
        """Count a request of this caller; False where it exceeds the limit. `now`: monotonic seconds."""
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = TokenBucket(self._burst, self._per_second)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(caller)
        return bucket.take(now)


PATH = "/hooks/smartsupp"
"""The route's path; the token follows."""
HOOKS_AT_ONCE = 20_000
HOOKS_PER_SECOND = 500
"""Limit for one token: far above what Smartsupp sends, far below what fills a disk unnoticed overnight."""
BETWEEN_LOOKS_AT_DISK = 0.5
"""Seconds. What hooks can write meanwhile at full speed fits into the room that is kept free."""
WRONG_TOKENS_AT_ONCE = 20
WRONG_TOKENS_PER_SECOND = 1 / 3

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Token:
    value: bytes
    was_used: bool = False
    bucket: TokenBucket = field(
        default_factory=lambda: TokenBucket(HOOKS_AT_ONCE, HOOKS_PER_SECOND)
    )


class HookRoute:
    """A plain ASGI application that reads the body itself and answers in every case."""

    def __init__(
        self,
        *,
        tokens: Callable[[], Sequence[str]],
        take: Callable[[bytes], Awaitable[Taken]],
        trouble: Callable[[], str],
        reader: BodyReader,
        write_deadline: float,
        metrics: Metrics,
        precedence: Precedence,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tokens` returns the accepted tokens, newest first.

        `take` stores a hook, within `write_deadline` seconds, while others give way by `precedence`: it is
        `RulesInForce.take`. `trouble` says why none can be stored at present, empty if they can: `storage_trouble`.
        """
        self._accepted = tokens
        self._read: Sequence[str] = ()
        self._tokens: list[_Token] = []
        self._take = take
        self._ask_trouble = trouble
        self._asked_at = -BETWEEN_LOOKS_AT_DISK
        self._trouble = ""
        self._reader = reader
        self._write_deadline = Deadline(write_deadline)
        self._metrics = metrics
        self._precedence = precedence
        self._monotonic = monotonic
        self._strangers = Callers(WRONG_TOKENS_AT_ONCE, WRONG_TOKENS_PER_SECOND)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:  # noqa: ANN401 - ASGI
        started = self._monotonic()
        try:
            answer = await self._answer(scope, receive)
        except Disconnected:
            log.warning("POST /hooks/smartsupp/*** ended before its body was whole")
            return
        except Exception:
            log.exception("POST /hooks/smartsupp/*** failed")
            answer = refusal(500, "the relay failed; its log says how")
        self._metrics.answered(answer.status)
        took = (self._monotonic() - started) * 1000
        log.info(
            "%s /hooks/smartsupp/*** %d %s %.1f ms",
            scope["method"],
            answer.status,
            answer.body.get("chat") or answer.body.get("error"),
            took,
            extra={"fields": {"status": answer.status, "ms": round(took, 1), **answer.body}},
        )
        await send_answer(answer, send)
        reach(CrashPoint.ANSWERED)

    async def _answer(self, scope: Any, receive: Receive) -> Answer:  # noqa: ANN401
        refused = self._refused(scope)
        if refused is not None:
            return refused
        try:
            return await self._store(await self._reader.read(scope["headers"], receive))
        except NotTaken as refused_body:
            return refused_body.answer
        except asyncio.CancelledError:
            # The relay stops while the hook waits for the database; it may be stored or not.
            return shutting_down()

    async def _store(self, body: bytes) -> Answer:
        try:
            with self._precedence, self._write_deadline.start():
                return _accepted(await self._take(body))
        except UnreadableHook as problem:
            return refusal(400, f"{problem}; the post is kept as unreadable")
        except StorageUnavailable:
            return refusal(503, "the database can't be written right now", retry_after=30)
        except TimeoutError:
            return refusal(503, "the database does not answer", retry_after=30)

    def _refused(self, scope: Any) -> Answer | None:  # noqa: ANN401
        """The answer to a request that is refused without reading its body; None where it is read."""
        if scope["method"] != "POST":
            return Answer(
                405,
                {"error": "only POST is allowed here"},
                {"allow": "POST"},
                close=_has_body(scope),
            )
        token = self._token(scope["path"].strip("/"))
        now = self._monotonic()
        if token is None:
            caller = (scope.get("client") or ("unknown",))[0]
            if self._strangers.take(caller, now):
                return NOT_FOUND
            return refusal(429, "too many unknown tokens", retry_after=60, close=True)
        if not token.bucket.take(now):
            return refusal(429, "too many hooks at once", retry_after=10, close=True)
        if trouble := self._recent_trouble(now):
            return refusal(503, trouble, retry_after=60, close=True)
        return None

    def _recent_trouble(self, now: float) -> str:
        if now - self._asked_at >= BETWEEN_LOOKS_AT_DISK:
            self._trouble, self._asked_at = self._ask_trouble(), now
        return self._trouble

    def _token(self, given: str) -> _Token | None:
        """The accepted token that was given, or None; compares with every token in constant time."""
        if (accepted := self._accepted()) is not self._read:
            previous = {token.value: token for token in self._tokens}
            values = [token.encode() for token in accepted]
            self._read = accepted
            self._tokens = [previous.get(value) or _Token(value) for value in values]
        match = None
        for token in self._tokens:
            if hmac.compare_digest(token.value, given.encode("utf-8", "surrogateescape")):
                match = token
        if match and not match.was_used:
            match.was_used = True
            if len(self._tokens) > 1:
                number = self._tokens.index(match) + 1
                log.info(
                    "a hook came by token %d of %d; 1 is the newest", number, len(self._tokens)
                )
        return match


def _has_body(scope: Any) -> bool:  # noqa: ANN401
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


def _accepted(taken: Taken) -> Answer:
    name = f"{taken.chat.account}/{taken.chat.id}"
    return Answer(202 if taken.new else 200, {"chat": name, "deliveries": taken.deliveries})
