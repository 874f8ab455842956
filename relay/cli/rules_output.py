"""The output of commands about rules: lines of text for people, in colour on a terminal; values for programs."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import click

from relay.cli.printing import COULD_NOT_RUN, FINE, NOT_FINE, counted
from relay.outbox.delivery_types import State
from relay.outbox.history import Record
from relay.redaction import redact_line
from relay.rules import Finding, Problem, RuleBook, Severity, Standing, Verdict
from relay.rules.conditions import time_words
from relay.rules.reading.value_parsers import shown
from relay.rules.reading.yaml_document import lines_of
from relay.services.check import Checked
from relay.services.explanation import Explanation, PastExplanation
from relay.services.trial_send import Tried
from relay.text import clean
from relay.timing.plan import HOURS
from relay.timing.timing_words import moment_words, plan_words, span_words, why_words

_ROOM = 100
"""How many columns of a quoted line are shown."""


# -- relay check -------------------------------------------------------------------------------------------


def trouble(checked: Checked) -> Iterator[str]:
    """Lines for all problems and warnings, each with the quoted line of the file."""
    listed = (*checked.problems, *checked.warnings)
    yield from problems([each for each in listed if each.path == str(checked.path)], checked.source)
    yield from problems([each for each in listed if each.path != str(checked.path)], b"")
    for words in (*checked.templates, *checked.settings):
        yield f"{click.style('problem', fg='red', bold=True)}: {words}"


def problems(listed: Iterable[Problem], source: bytes) -> Iterator[str]:
    """Lines for these problems, each with the quoted line of the file."""
    lines = lines_of(source) if source else []
    listed = tuple(listed)
    private = {problem.line for problem in listed if problem.private}
    for problem in listed:
        yield _headline(problem)
        if 0 < problem.line <= len(lines) and problem.line not in private:
            yield from _quoted(lines[problem.line - 1], problem)


def _headline(problem: Problem) -> str:
    warning = problem.severity is Severity.WARNING
    label = click.style("warning: ", fg="yellow", bold=True) if warning else ""
    return f"{click.style(str(problem.place), bold=True)}: {label}{problem.words}"


def _quoted(line: str, problem: Problem) -> Iterator[str]:
    """The line with a caret under the column; a long line is cut around it."""
    shown = redact_line(clean(line)).replace("\t", " ")
    start = max(0, problem.column - 1 - _ROOM // 2) if len(shown) > _ROOM else 0
    before, after = shown[start : problem.column - 1], shown[problem.column - 1 : start + _ROOM]
    number = f"{problem.line:>5} | "
    yield f"{click.style(number, dim=True)}{before}{after}"
    caret = click.style("^", fg="yellow" if problem.severity is Severity.WARNING else "red")
    yield f"{click.style('      | ', dim=True)}{' ' * _width(before)}{caret}"


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def closed_days(checked: Checked) -> Iterator[str]:
    """A line for each schedule with exceptions: its next closed days."""
    for name, days in checked.closed.items():
        words = ", ".join(f"{day:%a %Y-%m-%d}" for day in days) or "never within a year"
        yield f"The schedule {shown(name)} is closed by `except:` on these days next: {words}"


def exit_code(checked: Checked) -> int:
    """The exit code of `relay check`: 0 where all is fine, 1 for problems, 2 where the file or the settings can't be read."""
    if checked.unreadable or checked.settings:
        return COULD_NOT_RUN
    return NOT_FINE if checked.problems or checked.templates else FINE


def connected(tried: Sequence[Tried]) -> Iterator[str]:
    """A line for each destination, and what to do where its server can't be used."""
    for row in tried:
        word = click.style("ok", fg="green") if row.well else click.style("no", fg="red", bold=True)
        yield f"{row.destination} ({row.transport}): {word}: {row.detail}"
        yield from (f"  {line}" for line in row.cure)


def summary(checked: Checked, unreached: int = 0) -> str:
    """The last line: what was read, or how much is wrong. `unreached`: how many destinations have a server that can't be used."""
    number = len(checked.problems) + len(checked.templates) + len(checked.settings)
    if number:
        return click.style(counted(number, "problem"), fg="red", bold=True)
    counts = [f", {counted(len(checked.warnings), 'warning')}"] if checked.warnings else []
    counts += [f"; {counted(unreached, 'server')} can't be used"] if unreached else []
    return f"{checked.path}: {_read(checked.book)}{''.join(counts) or '; all fine'}"


def _read(book: RuleBook | None) -> str:
    if book is None:
        return "nothing"
    off = sum(not rule.enabled for rule in book.rules)
    rules = counted(len(book.rules), "rule") + (f" ({off} turned off)" if off else "")
    return f"{rules}, {counted(len(book.destinations), 'destination')}"


# -- relay explain -----------------------------------------------------------------------------------------


def explained(explanation: Explanation) -> Iterator[str]:
    """Lines about each rule, with the result of each condition, and about what would be sent."""
    chat, book, verdicts = explanation.chat, explanation.book, explanation.verdicts
    when = f", {time_words(chat.began, book.timezone)}" if chat.began else ""
    yield click.style(f"Chat {chat.account}/{chat.id}{when}", bold=True)
    for oddity in chat.oddities:
        yield f"  not as documented: {oddity}"
    for number, verdict in enumerate(verdicts, 1):
        yield ""
        yield from _verdict(number, verdict)
    yield ""
    yield from _outcome(book, verdicts)
    yield from _times(explanation)


def _times(explanation: Explanation) -> Iterator[str]:
    """Lines that say when it is sent; none where every destination is notified at once."""
    if explanation.plans is None:
        return
    zone = explanation.book.timezone
    yield ""
    yield click.style(f"If it comes in on {moment_words(explanation.arrives, zone)}:", bold=True)
    planned = {(match.rule, match.destination) for match, _ in explanation.plans}
    for match in (each for verdict in explanation.verdicts for each in verdict.matches):
        timing = explanation.book.destinations[match.destination].timing
        if (match.rule, match.destination) not in planned:
            why = why_words(HOURS, timing)
            yield f"  {match.rule} -> {match.destination}: {timing.instead} gets it instead: {why}"
    for match, plan in explanation.plans:
        timing = explanation.book.destinations[match.destination].timing
        yield f"  {match.rule} -> {match.destination}: {plan_words(plan, timing, zone, explanation.mutes)}"
        if match.once_per:
            later = "left out" if match.once_per.then == "nothing" else "in a digest after that"
            span = span_words(match.once_per.visitor)
            yield f"    once per visitor in {span}: more about the same visitor are {later}"


def remembered(past: PastExplanation) -> Iterator[str]:
    """Lines about the stored verdicts on a hook."""
    hook, record = past.hook, past.record
    when = time_words(hook.received_at, ZoneInfo("UTC"))
    yield click.style(f"Chat {hook.account}/{hook.chat}, hook {hook.id} of {when}", bold=True)
    yield f"  judged by the rules file {hook.rules_hash[:12]}"
    if hook.trouble:
        yield f"  {hook.trouble}"
    yield from dict.fromkeys(
        f"  {each.rule} -> {each.destination}: {_waited(each)}" for each in past.waited
    )
    if not record:
        return
    for number, verdict in enumerate(record.verdicts, 1):
        yield ""
        yield from _verdict(number, verdict)
        yield from (f"   left out, {words}" for words in verdict.left_out)
    if record.left_out:
        yield ""
        yield f"{record.left_out} more rules did not match."
    yield ""


def _waited(delivery: Record) -> str:
    why = why_words(delivery.why)
    if delivery.state is State.LEFT_OUT:
        return f"nothing is sent: {why}"
    if delivery.state is State.SCHEDULED:
        return f"waits until {moment_words(delivery.due_at, ZoneInfo('UTC'))} UTC: {why}"
    return f"in a digest: {why}" if delivery.state is State.IN_DIGEST else f"waited: {why}"


def _verdict(number: int, verdict: Verdict) -> Iterator[str]:
    yield f"{number}. {verdict.rule}: {_standing(verdict)}"
    for finding in verdict.findings:
        yield from finding_lines(finding, "   ")


def _standing(verdict: Verdict) -> str:
    match verdict.standing:
        case Standing.NOT_ASKED:
            return click.style(f"not asked, because “{verdict.stopped_by}” stops", dim=True)
        case Standing.OFF:
            return click.style("turned off", dim=True)
        case _:
            answer = _answer(verdict.standing.value, holds=verdict.holds)
            return f"{answer}, but it reaches nobody" if verdict.reaches_nobody else answer


def finding_lines(finding: Finding, indent: str) -> Iterator[str]:
    """Lines for a condition and its parts: its words, the answer, and what the chat had."""
    yield f"{indent}{finding.words}: {_answer(finding.answer, holds=finding.holds)}"
    for part in finding.parts:
        yield from finding_lines(part, f"{indent}  ")


def _answer(words: str, *, holds: bool) -> str:
    word, comma, rest = words.partition(",")
    # No colour for no: a rule that does not match is not an error.
    return (click.style(word, fg="green", bold=True) if holds else word) + comma + rest


def _outcome(book: RuleBook, verdicts: Sequence[Verdict]) -> Iterator[str]:
    matches = [(verdict, match) for verdict in verdicts for match in verdict.matches]
    yield click.style("Would be sent:" if matches else "Nothing would be sent.", bold=True)
    for verdict, match in matches:
        transport = book.destinations[match.destination].transport
        named = (match.destination,)
        recipients = f": {', '.join(match.recipients)}" if match.recipients != named else ""
        instead = f", instead of {match.instead_of}" if match.instead_of else ""
        yield f"  {verdict.rule} -> {match.destination} ({transport}, template {match.template}{instead}){recipients}"
    for_nobody = {rule.name for rule in book.rules if rule.for_nobody}
    for verdict in verdicts:
        if verdict.holds and verdict.rule in for_nobody:
            yield f"  {verdict.rule} -> nobody, as the rule says"
        for words in verdict.left_out:
            yield f"  {verdict.rule}: left out, {words}"


# -- for programs ------------------------------------------------------------------------------------------


def checked_json(checked: Checked) -> dict[str, Any]:
    """The result of `relay check` as JSON."""
    listed = (*checked.problems, *checked.warnings)
    return {
        "file": str(checked.path),
        "ok": exit_code(checked) == FINE,
        "rules": len(checked.book.rules) if checked.book else None,
        "destinations": len(checked.book.destinations) if checked.book else None,
        "problems": [problem_as_json(problem) for problem in listed],
        "closed_days": {
            name: [day.isoformat() for day in days] for name, days in checked.closed.items()
        },
        "templates": list(checked.templates),
        "settings": list(checked.settings),
    }


def connected_json(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """The results of `relay check --connect` as JSON, one entry per destination."""
    return [
        {
            "destination": each.destination,
            "transport": each.transport,
            "ok": each.well,
            "detail": each.detail,
            "cure": " ".join(each.cure),
        }
        for each in tried
    ]


def problem_as_json(problem: Problem) -> dict[str, Any]:
    """A problem of a file as JSON, with its place and hint."""
    return {
        "severity": problem.severity.value,
        "path": problem.path,
        "line": problem.line or None,
        "column": problem.column or None,
        "what": problem.message,
        "hint": problem.hint,
    }


def explained_json(explanation: Explanation) -> dict[str, Any]:
    """Every rule's verdict on a chat as JSON, with its conditions, and when each notification would be sent."""
    chat = explanation.chat
    return {
        "account": chat.account,
        "chat": chat.id,
        "oddities": list(chat.oddities),
        "rules": [_verdict_as_json(verdict) for verdict in explanation.verdicts],
        "arrives": explanation.arrives.isoformat(),
        "plans": [
            {
                "rule": match.rule,
                "destination": match.destination,
                "state": plan.state,
                "due": plan.due.isoformat() if plan.due else None,
                "why": plan.why or None,
                "in_digest": plan.in_digest,
            }
            for match, plan in explanation.plans or ()
        ],
    }


def remembered_json(past: PastExplanation) -> dict[str, Any]:
    """How a chat's hook was judged when it came in, as JSON."""
    hook, record = past.hook, past.record
    return {
        "hook": hook.id,
        "account": hook.account,
        "chat": hook.chat,
        "received_at": hook.received_at.isoformat(),
        "rules_hash": hook.rules_hash,
        "trouble": hook.trouble,
        "rules": [_verdict_as_json(verdict) for verdict in record.verdicts] if record else [],
        "left_out": record.left_out if record else 0,
    }


def _verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "rule": verdict.rule,
        "answer": verdict.standing.value,
        "stopped_by": verdict.stopped_by or None,
        "findings": [finding_as_json(finding) for finding in verdict.findings],
        "sends": [
            {
                "destination": match.destination,
                "instead_of": match.instead_of or None,
                "template": match.template,
                "recipients": list(match.recipients),
            }
            for match in verdict.matches
        ],
        "left_out": list(verdict.left_out),
        "reaches_nobody": verdict.reaches_nobody,
    }


def finding_as_json(finding: Finding) -> dict[str, Any]:
    """A condition's result as JSON, with those of its parts."""
    return {
        "condition": finding.words,
        "holds": finding.holds,
        "saw": finding.saw,
        "parts": [finding_as_json(part) for part in finding.parts],
    }
