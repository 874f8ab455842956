"""What the rules say of a chat: asked within a time limit, and kept, so that it can be read later.

What the rules said of a chat, in a form to be kept: "why did nobody get this?" may be asked weeks later.

How long a hook may take to be judged: at once where that is quick, else beside the event loop and for a limited time.
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
from relay.rules.book import Match, RuleBook, Standing, Verdict
from relay.rules.chat_view import ChatView, OutOfTime, TimeLimit
from relay.rules.conditions import Finding

MAX_RULES = 40
"""The most rules whose verdicts are all recorded.

Of a larger file only those that hold are: the rest would outweigh the chat.
"""


@dataclass(frozen=True, slots=True)
class Unreached:
    """A rule that holds, with a destination that it names and at which nobody can be reached for this chat."""

    rule: str
    destination: str
    instead: str
    """Its fallback, or another destination of the rule; empty where nobody is told at all."""


class Judgement(Struct, frozen=True):
    """What the rules make of a chat: whom to tell, and each rule's verdict, both from one look at it."""

    matches: tuple[Match, ...]
    record: bytes
    """JSON; holds words of the visitor, so it must be erased with the chat."""
    unreached: tuple[Unreached, ...] = ()
    held: bool = False
    """A rule holds, perhaps one for nobody."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The verdicts about a chat, read again from their record."""

    verdicts: tuple[Verdict, ...]
    """Without their matches: their deliveries stand in the outbox."""
    left_out: int
    """Rules that did not hold and were not recorded."""


class _Verdict(Struct, kw_only=True, omit_defaults=True):
    """A verdict as the record has it, in JSON."""

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
    """Ask the rules about a chat that came in."""
    return judge_view(book, ChatView(chat))


def judge_view(book: RuleBook, view: ChatView) -> Judgement:
    """Ask the rules about a chat, perhaps within a time limit. Raises OutOfTime."""
    whole = len(book.rules) <= MAX_RULES
    verdicts = book.explain_view(view, only_held=not whole)
    record = _Record(
        rules=[
            _Verdict(
                rule=each.rule,
                answer=each.standing,
                findings=each.findings,
                stops=each.stops,
                stopped_by=each.stopped_by,
                reaches_nobody=each.reaches_nobody,
                unusable=each.left_out,
            )
            for each in verdicts
        ],
        left_out=0 if whole else len(book.rules) - len(verdicts),
    )
    return judgement_of(verdicts, msgspec.json.encode(record))


def judgement_of(verdicts: Sequence[Verdict], record: bytes = b"") -> Judgement:
    """The judgement by these verdicts: whom to tell, and who can't be reached. `record` is kept as it is."""
    unreached = [
        Unreached(verdict.rule, name, verdict.matches[0].destination if verdict.matches else "")
        for verdict in verdicts
        for name in verdict.unreached
    ]
    matches = [match for verdict in verdicts for match in verdict.matches]
    held = bool(matches) or any(verdict.holds for verdict in verdicts)
    return Judgement(tuple(matches), record, tuple(unreached), held)


def read_record(record: bytes) -> Recorded:
    """The verdicts in a record. Raises ValueError for what is no record."""
    try:
        told = _record.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"this is not a record of verdicts: {error}") from None
    verdicts = [
        Verdict(
            rule=each.rule,
            standing=each.answer,
            findings=each.findings,
            left_out=each.unusable,
            stops=each.stops,
            stopped_by=each.stopped_by,
            reaches_nobody=each.reaches_nobody,
        )
        for each in told.rules
    ]
    return Recorded(tuple(verdicts), told.left_out)


AT_ONCE = 0.005
"""Seconds for which the event loop may stand still for one chat."""
FOR_A_CHAT = 1.0
"""Seconds in which all the rules are to be asked, beside the event loop."""
FOR_A_RULE = 0.5
"""Seconds for each rule, where that was not enough for all."""
LONGEST = 3.0
"""Seconds after which no rule is asked any more that takes long; also for chats that waited for their turn."""

log = logging.getLogger(__name__)


class Judged(msgspec.Struct, frozen=True):
    """What the rules said of a chat."""

    judgement: Judgement
    trouble: str = ""
    """Why not all rules could be asked; empty as a rule."""
    unasked: tuple[str, ...] = ()
    """The rules that failed, or ran out of time."""


class Judging:
    """Asks the rules about chats that come in."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        # One thread: what takes long for one chat is not to take the processor from all others.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rules")

    def close(self) -> None:
        """What is being asked may go on for up to `LONGEST` seconds; nobody waits for it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ask(self, rules: RuleBook, chat: Chat, size: int) -> Judged:
        """What the rules say of a chat. `size`: how many bytes its hook has."""
        view = ChatView(chat)
        if rules.seconds * size <= AT_ONCE:
            view.time.limit = TimeLimit(AT_ONCE, self._clock)
            # Out of time, or a bug of ours: it is asked again below, and the log has that.
            with suppress(Exception):
                return Judged(judge_view(rules, view))
        last = TimeLimit(LONGEST, self._clock)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._ask, rules, view, last)

    def _ask(self, rules: RuleBook, view: ChatView, last: TimeLimit) -> Judged:
        """In a thread. What was found out about the chat is remembered by its view."""
        chat = view.chat
        view.time.limit = last.within(FOR_A_CHAT)
        try:
            return Judged(judge_view(rules, view))
        except OutOfTime as late:
            log.warning("chat %s/%s: %s; each rule is asked by itself", chat.account, chat.id, late)
        except Exception:
            # A bug of ours must not cost a chat: what can be asked is, and it can be replayed.
            log.exception("chat %s/%s: a rule could not be asked", chat.account, chat.id)
        verdicts, failed = rules.verdicts_where_possible(view, lambda: last.within(FOR_A_RULE))
        names = ", ".join(failed) or "none by itself"
        log.error("chat %s/%s: rules that could not be asked: %s", chat.account, chat.id, names)
        trouble = f"rules that could not be asked: {names}; the log says why"
        return Judged(judgement_of(verdicts), trouble, failed)
