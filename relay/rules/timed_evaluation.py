"""Evaluates the rules for a new chat within a time limit, and records the verdicts for later questions.

A quick evaluation runs in the event loop, a longer one in a thread.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from relay.chat import Chat
from relay.rules.compared_values import ChatView, OutOfTime, TimeLimit
from relay.rules.conditions import Finding
from relay.rules.rule_book import Match, RuleBook, Standing, Verdict

MAX_RULES = 40
"""The most rules whose verdicts are all recorded.

With more rules, only the matching ones are, because the record would become larger than the chat.
"""


@dataclass(frozen=True, slots=True)
class Unreached:
    """A matching rule with one of its destinations at which nobody can be reached for this chat."""

    rule: str
    destination: str
    instead: str
    """The fallback or another destination of the rule; empty if nobody is notified."""


class Judgement(Struct, frozen=True):
    """The matches of a chat and the record of every rule's verdict."""

    matches: tuple[Match, ...]
    record: bytes
    """The verdicts as JSON. It contains words of the visitor, so it must be erased with the chat."""
    unreached: tuple[Unreached, ...] = ()
    held: bool = False
    """Whether a rule matched, even one for nobody."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The verdicts about a chat, read from their record."""

    verdicts: tuple[Verdict, ...]
    """The verdicts without their matches, which the outbox has as deliveries."""
    left_out: int
    """How many rules did not match and were not recorded."""


class _Verdict(Struct, kw_only=True, omit_defaults=True):
    """A verdict as it is stored in a record."""

    rule: str
    answer: Standing
    findings: tuple[Finding, ...] = ()
    stops: bool = False
    stopped_by: str = ""
    reaches_nobody: bool = False
    unusable: tuple[str, ...] = ()


class _Record(Struct, kw_only=True, omit_defaults=True):
    rules: list[_Verdict]
    left_out: int = 0


_record = msgspec.json.Decoder(_Record)


def judge(book: RuleBook, chat: Chat) -> Judgement:
    """Evaluate the rules for a new chat, without a time limit."""
    return judge_view(book, ChatView(chat))


def judge_view(book: RuleBook, view: ChatView) -> Judgement:
    """Evaluate the rules for a chat's view, within its time limit if it has one. Raises OutOfTime."""
    whole = len(book.rules) <= MAX_RULES
    verdicts = book.explain_view(view, only_held=not whole)
    record = _Record(
        rules=[
            _Verdict(
                rule=verdict.rule,
                answer=verdict.standing,
                findings=verdict.findings,
                stops=verdict.stops,
                stopped_by=verdict.stopped_by,
                reaches_nobody=verdict.reaches_nobody,
                unusable=verdict.left_out,
            )
            for verdict in verdicts
        ],
        left_out=0 if whole else len(book.rules) - len(verdicts),
    )
    return judgement_of(verdicts, msgspec.json.encode(record))


def judgement_of(verdicts: Sequence[Verdict], record: bytes = b"") -> Judgement:
    """Return the judgement that follows from these verdicts. `record` is kept unchanged."""
    unreached = [
        Unreached(verdict.rule, name, verdict.matches[0].destination if verdict.matches else "")
        for verdict in verdicts
        for name in verdict.unreached
    ]
    matches = [match for verdict in verdicts for match in verdict.matches]
    held = bool(matches) or any(verdict.holds for verdict in verdicts)
    return Judgement(tuple(matches), record, tuple(unreached), held)


def read_record(record: bytes) -> Recorded:
    """Return the verdicts in a record. Raises ValueError if the bytes are no record."""
    try:
        decoded = _record.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"this is not a record of verdicts: {error}") from None
    verdicts = [
        Verdict(
            rule=verdict.rule,
            standing=verdict.answer,
            findings=verdict.findings,
            left_out=verdict.unusable,
            stops=verdict.stops,
            stopped_by=verdict.stopped_by,
            reaches_nobody=verdict.reaches_nobody,
        )
        for verdict in decoded.rules
    ]
    return Recorded(tuple(verdicts), decoded.left_out)


AT_ONCE = 0.005
"""The most seconds for which the rules may block the event loop."""
FOR_A_CHAT = 1.0
"""The most seconds for evaluating all rules, in the thread."""
FOR_A_RULE = 0.5
"""The most seconds for each rule, if evaluating all together took too long."""
LONGEST = 3.0
"""Seconds after which no slow rule is evaluated any more, counted from the chat's arrival in the queue."""

log = logging.getLogger(__name__)


class Judged(msgspec.Struct, frozen=True):
    """The result of evaluating the rules for a chat."""

    judgement: Judgement
    trouble: str = ""
    """Why some rules could not be evaluated; usually empty."""
    unasked: tuple[str, ...] = ()
    """The names of the rules that failed or ran out of time."""


class Judging:
    """Evaluates the rules for new chats."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        # One thread, so that a slow chat can't take the processor from all others.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rules")

    def close(self) -> None:
        """Stop evaluating. A running evaluation may continue for up to `LONGEST` seconds; nobody waits for it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ask(self, rules: RuleBook, chat: Chat, size: int) -> Judged:
        """Evaluate the rules for a chat whose hook has `size` bytes."""
        view = ChatView(chat)
        if rules.seconds * size <= AT_ONCE:
            view.time.limit = TimeLimit(AT_ONCE, self._clock)
            # After a timeout or a bug the rules are evaluated again below, which logs the error.
            with suppress(Exception):
                return Judged(judge_view(rules, view))
        last = TimeLimit(LONGEST, self._clock)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._ask, rules, view, last)

    def _ask(self, rules: RuleBook, view: ChatView, last: TimeLimit) -> Judged:
        """Evaluate all rules, or each separately if that fails; runs in the thread of `ask`."""
        chat = view.chat
        view.time.limit = last.within(FOR_A_CHAT)
        try:
            return Judged(judge_view(rules, view))
        except OutOfTime as late:
            log.warning("chat %s/%s: %s; each rule is asked by itself", chat.account, chat.id, late)
        except Exception:
            # A bug must not lose a chat: the other rules are evaluated, and the chat can be replayed.
            log.exception("chat %s/%s: a rule could not be asked", chat.account, chat.id)
        verdicts, failed = rules.verdicts_where_possible(view, lambda: last.within(FOR_A_RULE))
        names = ", ".join(failed) or "none by itself"
        log.error("chat %s/%s: rules that could not be asked: %s", chat.account, chat.id, names)
        trouble = f"rules that could not be asked: {names}; the log says why"
        return Judged(judgement_of(verdicts), trouble, failed)
