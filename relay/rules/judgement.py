"""What the rules said of a chat, in a form to be kept: "why did nobody get this?" may be asked weeks later."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from relay.chat import Chat
from relay.rules.book import Match, RuleBook, Standing, Verdict
from relay.rules.chat_view import ChatView
from relay.rules.conditions import Finding

MAX_RULES = 40
"""Of a larger rules file only the rules that hold are recorded: the rest would outweigh the chat itself."""


@dataclass(frozen=True, slots=True)
class Unreached:
    """A rule that holds, with a destination that it names and at which nobody can be reached for this chat."""

    rule: str
    destination: str
    instead: str
    """Its fallback, or another destination of the rule; empty where nobody is told at all."""


class Judgement(Struct, frozen=True):
    """Whom to tell of a chat, and why, both from one look at it."""

    matches: tuple[Match, ...]
    record: bytes
    """JSON; holds words of the visitor, so it must be erased with the chat."""
    unreached: tuple[Unreached, ...] = ()
    held: bool = False
    """A rule holds, perhaps one for nobody."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record that was read again."""

    verdicts: tuple[Verdict, ...]
    """Without their matches: what was owed stands in the outbox."""
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
    """Whom to tell, and who can't be reached, by these verdicts; `record` is kept as it is."""
    unreached = [
        Unreached(verdict.rule, name, verdict.matches[0].destination if verdict.matches else "")
        for verdict in verdicts
        for name in verdict.unreached
    ]
    matches = [match for verdict in verdicts for match in verdict.matches]
    held = bool(matches) or any(verdict.holds for verdict in verdicts)
    return Judgement(tuple(matches), record, tuple(unreached), held)


def read_record(record: bytes) -> Recorded:
    """Raises ValueError for what is no record."""
    try:
        told = _record.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"this is no record of verdicts: {error}") from None
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
