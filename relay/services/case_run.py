"""`relay test`: checks whether rules do with certain chats what their authors expect."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from relay.chat import Chat
from relay.files import read_file
from relay.intake import planned_matches
from relay.rules.compared_values import ChatView, ready
from relay.rules.conditions import Finding
from relay.rules.field_type import Field, Kind, Raw
from relay.rules.fields import FIELDS
from relay.rules.reading.case_reader import Case, CaseFile, Expected, read_case_file
from relay.rules.reading.rules_file import read_bytes
from relay.rules.reading.story_reader import ExpectedMessages, Story, read_stories
from relay.rules.reading.value_parsers import BadValue, shown
from relay.rules.rule_book import Match, RuleBook, Standing, Verdict
from relay.rules.schedule_parser import AT_ONCE
from relay.services import Progress, in_thread
from relay.services.explanation import arrive, moved
from relay.smartsupp import UnreadableHook, read_chat
from relay.timing.simulation import Sent, Simulation
from relay.timing.timing_words import moment_words

_ENDING = ".test.yaml"


def case_file_of(rules: Path) -> Path:
    """The path of a rules file's test file: rules.test.yaml beside rules.yaml."""
    return rules.with_name(f"{rules.stem}{_ENDING}")


@dataclass(frozen=True, slots=True)
class Suite:
    """A test file and the path of the rules file that it tests."""

    path: Path
    rules: Path
    cases: CaseFile


async def read_suite(path: Path, rules: Path | None, default: Path) -> Suite:
    """Read a test file; if `path` is a rules file, the test file beside it.

    It tests `rules`, or else the rules file that it names, that has its name, or `default`. Raises RulesError with
    all problems.
    """

    def work(_: Progress) -> Suite:
        named = path, rules
        if not path.name.endswith(_ENDING) and case_file_of(path).exists():
            named = case_file_of(path), rules or path
        cases = read_case_file(read_bytes(named[0], hint=""), str(named[0]))
        return Suite(named[0], named[1] or _rules_of(named[0], cases) or default, cases)

    return await in_thread(work)


def _rules_of(path: Path, cases: CaseFile) -> Path | None:
    if cases.rules:
        return path.parent / cases.rules
    namesake = path.with_name(f"{path.name.removesuffix(_ENDING)}.yaml")
    return namesake if namesake.exists() else None


@dataclass(frozen=True, slots=True)
class CaseRun:
    """The results of a test file."""

    path: Path
    rules: Path
    results: tuple["Result", ...]
    untested: tuple[str, ...]
    """Rules that no case expects to match, so that nobody would notice if they stopped working."""

    @property
    def failures(self) -> tuple["Result", ...]:
        """The results that are not as expected."""
        return tuple(result for result in self.results if not result.passed)


async def run_cases(suite: Suite, book: RuleBook) -> CaseRun:
    """Check the rules with the chat of each case, which may be in a file beside the test file.

    Raises RulesError with all problems of the cases.
    """

    def work(report: Progress) -> CaseRun:
        chat, results = _Folder(suite.path.parent).chat, list[Result]()
        cases, stories = suite.cases.cases(book, chat), read_stories(suite.cases, book, chat)
        expected = {each.rule for case in cases for each in case.expected}
        for done, case in enumerate(cases):
            report(done, len(cases) + len(stories))
            results.append(run_case(book, case))
        for done, story in enumerate(stories, len(cases)):
            report(done, len(cases) + len(stories))
            result, rules = run_story(book, story)
            results.append(result)
            expected |= rules
        untested = (rule.name for rule in book.rules if rule.enabled and rule.name not in expected)
        return CaseRun(suite.path, suite.rules, tuple(results), tuple(untested))

    return await in_thread(work)


@dataclass(frozen=True, slots=True)
class _Folder:
    """The folder in which the names of chat files are looked up."""

    path: Path

    def chat(self, name: str) -> Chat:
        """The chat in a file. Raises BadValue."""
        try:
            return read_chat(read_file(self.path / name))
        except OSError as error:
            problem = f"{shown(name)} can't be read: {error.strerror or error}"
            raise BadValue(problem, "a chat file is named as seen from this file") from None
        except (UnreadableHook, ValueError) as error:
            raise BadValue(f"{shown(name)} is no chat: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A rule that did not do what was expected."""

    rule: str
    missing: tuple[str, ...] = ()
    """The missing matches or notifications, such as `Bad ratings -> managers`."""
    surplus: tuple[str, ...] = ()
    """The matches or notifications that were not expected."""
    reason: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """How a case or a story differs from what was expected."""

    case: Case | Story
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.differences


def run_case(book: RuleBook, case: Case) -> Result:
    """Compare what the rules do with a case's chat with what the case expects."""
    wanted = {each.rule: each for each in case.expected}
    view = _view(case.chat, case.stated, case.at)
    verdicts = book.explain_view(view)
    plans = _Plans(book, view.chat, case.arrives)
    differences = (_difference(verdict, wanted.get(verdict.rule), plans) for verdict in verdicts)
    return Result(case, tuple(each for each in differences if each))


@dataclass(frozen=True, slots=True)
class _Plans:
    """When the destinations are notified of a case's chat."""

    book: RuleBook
    chat: Chat
    arrives: datetime

    def of(self, verdict: Verdict) -> Iterator[tuple[Match, str]]:
        """A rule's matches that are sent, each with its time in words."""
        plans = planned_matches(
            self.book, self.chat, verdict.matches, mutes=self.book.mutes, now=self.arrives
        )
        for match, plan in plans:
            if plan.state != "left out":
                is_later = plan.due is not None and plan.due > self.arrives
                yield match, self.words(plan.due if is_later else None)

    def words(self, due: datetime | None) -> str:
        return f", {moment_words(due, self.book.timezone) if due else AT_ONCE}"


def _view(chat: Chat, stated: Mapping[Field, Raw] | None, at: datetime | None) -> ChatView:
    view = ChatView(moved(chat, at) if at else chat)
    for each, raw in (stated or {}).items():
        if each.put is None:
            # The field is derived from the messages, but the case states it.
            view[each] = ready(raw, each.kind)
    for each in FIELDS.values() if stated is not None else ():
        if each.kind is Kind.YES_NO and view[each] is None:
            view[each] = False  # not mentioned means no
    return view


def _difference(verdict: Verdict, wanted: Expected | None, plans: _Plans) -> Difference | None:
    expected, actual = _expected(verdict, wanted, plans), _actual(verdict, wanted, plans)
    if expected == actual:
        return None
    # No findings where the rule rightly matches and only its recipients are wrong.
    explained = not (verdict.holds and wanted)
    return Difference(
        rule=verdict.rule,
        missing=tuple(line for line in expected if line not in actual),
        surplus=tuple(line for line in actual if line not in expected),
        reason=_reason(verdict, wanted),
        findings=verdict.findings if explained else (),
    )


def _expected(verdict: Verdict, wanted: Expected | None, plans: _Plans) -> list[str]:
    if wanted is None:
        return []
    if wanted.recipients is None:
        return [verdict.rule]
    lines = sorted(
        _line(verdict.rule, name, recipients)
        + (plans.words(wanted.times[name]) if name in wanted.times else "")
        for name, recipients in wanted.recipients.items()
    )
    return lines or [f"{verdict.rule} -> nobody"]


def _actual(verdict: Verdict, wanted: Expected | None, plans: _Plans) -> list[str]:
    """Return what the rule did with the chat, in words, in as much detail as the case expects."""
    if not verdict.holds:
        return []
    if wanted and wanted.recipients is None:
        return [verdict.rule]
    names = wanted.recipients or {} if wanted else {}
    times = wanted.times if wanted else {}
    # With times, a destination may replace another.
    timed_matches = plans.of(verdict) if times else ((match, "") for match in verdict.matches)
    lines = [
        _line(
            match.rule, match.destination, match.recipients if names.get(match.destination) else ()
        )
        + (when if match.destination in times else "")
        for match, when in timed_matches
    ]
    return sorted(lines) or [f"{verdict.rule} -> nobody"]


def _line(rule: str, destination: str, recipients: Iterable[str]) -> str:
    addresses = ", ".join(sorted(address.casefold() for address in recipients))
    return f"{rule} -> {destination}{': ' if addresses else ''}{addresses}"


def _reason(verdict: Verdict, wanted: Expected | None) -> str:
    match verdict.standing:
        case Standing.OFF:
            return "it is turned off"
        case Standing.NOT_ASKED:
            return f"it was not checked, because “{verdict.stopped_by}” stops"
        case Standing.FAILS:
            return "it does not match"
        case Standing.HOLDS:
            left_out = (f"left out, {words}" for words in verdict.left_out)
            others = "to others, or at another time," if wanted and wanted.times else "to others"
            sentence = f"it matches, but sends {others} than expected" if wanted else "it matches"
            return "; ".join([sentence, *left_out])


# -- stories -----------------------------------------------------------------------------------------------


def run_story(book: RuleBook, story: Story) -> tuple[Result, set[str]]:
    """Compare what would be sent for a story's chats with what is expected; also returns the rules that matched."""
    simulation, rules = Simulation(), set[str]()
    arrivals = sorted(story.arrivals, key=lambda each: each.at)
    for number, arrival in enumerate(arrivals, 1):
        view = _view(arrival.chat, arrival.stated, None)
        matches = book.matches_view(view)
        rules |= {match.rule for match in matches}
        arrive(simulation, book, view.chat, matches, arrived=arrival.at, name=str(number))
    # Notifications to several recipients count as one.
    notifications = {
        (sent.at, sent.destination, frozenset(each.chat for each in sent.members)): sent
        for sent in simulation.run(story.until)
    }
    missing, surplus = _compare_sent(book, story.sent, list(notifications.values()))
    why = "this is sent otherwise than expected"
    differences = (Difference(rule="", missing=missing, surplus=surplus, reason=why),)
    return Result(story, differences if missing or surplus else ()), rules


def _compare_sent(
    book: RuleBook, wanted: Iterable[ExpectedMessages], notifications: list[Sent]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The missing notifications, and those beyond what was wanted, each in words."""
    missing = []
    for each in wanted:
        chats = each.digest_of or 1
        alike = [
            sent
            for sent in notifications
            if sent.destination == each.destination and sent.chats == chats and sent.at >= each.at
        ][: each.times or 1]
        if len(alike) == (each.times or 1) and alike[0].at == each.at:
            notifications = [sent for sent in notifications if sent not in alike]
        else:
            count = f"{each.times} times " if each.times > 1 else ""
            missing.append(f"{count}{_sent_line(book, each.at, each.destination, chats)}")
    surplus = (_sent_line(book, sent.at, sent.destination, sent.chats) for sent in notifications)
    return tuple(missing), tuple(surplus)


def _sent_line(book: RuleBook, at: datetime, destination: str, chats: int) -> str:
    contents = f"a digest of {chats}" if chats > 1 else "one chat"
    return f"{moment_words(at, book.timezone)} -> {destination}: {contents}"
