"""What the rules said of a chat, in a form to be kept: "why did nobody get this?" may be asked weeks later."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from relay.chat import Chat
from relay.rules.book import Match, RuleBook, Standing, Verdict
from relay.rules.conditions import Finding
from relay.rules.view import ChatView

MAX_RULES = 40
"""Of a larger rules file only the rules that hold are recorded: the rest would outweigh the chat itself."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whom to tell of a chat, and why, both from one look at it."""

    matches: tuple[Match, ...]
    record: bytes
    """JSON; holds words of the visitor, so it must be erased with the chat."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record that was read again."""

    verdicts: tuple[Verdict, ...]
    """Without their matches: what was owed stands in the outbox."""
    left_out: int
    """Rules that did not hold and were not recorded."""


def judge(book: RuleBook, chat: Chat) -> Judgement:
    """Ask the rules about a chat that came in."""
    whole = len(book.rules) <= MAX_RULES
    verdicts = book.explain_view(ChatView(chat), only_held=not whole)
    told: dict[str, Any] = {"rules": [verdict_as_json(each) for each in verdicts]}
    if not whole:
        told["left_out"] = len(book.rules) - len(verdicts)
    matches = tuple(match for verdict in verdicts for match in verdict.matches)
    return Judgement(matches, msgspec.json.encode(told))


def read_record(record: bytes) -> Recorded:
    """Raises ValueError for what is no record."""
    try:
        told = msgspec.json.decode(record)
        verdicts = tuple(_verdict(each) for each in told["rules"])
        return Recorded(verdicts, told.get("left_out", 0))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no record of verdicts: {error}") from None


def verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    """Keys without a value are left out."""
    told: dict[str, Any] = {"rule": verdict.rule, "answer": verdict.standing.value}
    if verdict.findings:
        told["findings"] = _findings_as_json(verdict.findings)
    if verdict.stops:
        told["stops"] = True
    if verdict.stopped_by:
        told["stopped_by"] = verdict.stopped_by
    if verdict.left_out:
        told["unusable"] = list(verdict.left_out)
    return told


def _findings_as_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    told = []
    for each in findings:
        finding: dict[str, Any] = {"condition": each.words, "holds": each.holds}
        if each.saw:
            finding["saw"] = each.saw
        if each.parts:
            finding["parts"] = _findings_as_json(each.parts)
        told.append(finding)
    return told


def _verdict(told: dict[str, Any]) -> Verdict:
    return Verdict(
        rule=told["rule"],
        standing=Standing(told["answer"]),
        findings=tuple(_finding(each) for each in told.get("findings", ())),
        left_out=tuple(told.get("unusable", ())),
        stops=told.get("stops", False),
        stopped_by=told.get("stopped_by", ""),
    )


def _finding(told: dict[str, Any]) -> Finding:
    return Finding(
        words=told["condition"],
        holds=told["holds"],
        saw=told.get("saw", ""),
        parts=tuple(_finding(each) for each in told.get("parts", ())),
    )
