"""`relay test`: whether a rules file says of certain chats what its authors expect."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from relay.chat import Chat
from relay.files import read_file
from relay.rules.book import RuleBook, Standing, Verdict
from relay.rules.chat_view import ChatView, ready
from relay.rules.conditions import Finding
from relay.rules.field_type import Kind
from relay.rules.fields import FIELDS
from relay.rules.reading.case_reader import Case, CaseFile, Expected, read_case_file
from relay.rules.reading.rules_file import read_bytes
from relay.rules.reading.values import BadValue, shown
from relay.services import Progress, in_thread, unwatched
from relay.services.explanation import moved
from relay.smartsupp import UnreadableHook, read_chat

_ENDING = ".test.yaml"


def cases_beside(rules: Path) -> Path:
    """Where the test file of a rules file is looked for: rules.test.yaml beside rules.yaml."""
    return rules.with_name(f"{rules.stem}{_ENDING}")


@dataclass(frozen=True, slots=True)
class Suite:
    """A test file, its outside read, and the rules file that it is about."""

    path: Path
    rules: Path
    cases: CaseFile


async def read_suite(path: Path, rules: Path | None, default: Path) -> Suite:
    """Read a test file, or the one beside the rules file that `path` names instead.

    It is about `rules`; without them, about the rules file that it names, or that it is named after, or `default`.
    Raises RulesError with all problems.
    """

    def work(_: Progress) -> Suite:
        named = path, rules
        if not path.name.endswith(_ENDING) and cases_beside(path).exists():
            named = cases_beside(path), rules or path
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
    """A test file that was run."""

    path: Path
    rules: Path
    results: tuple["Result", ...]
    untested: tuple[str, ...]
    """Rules that no case expects to hold: nobody would notice if they stopped working."""

    @property
    def failures(self) -> tuple["Result", ...]:
        return tuple(result for result in self.results if not result.passed)


async def run_cases(suite: Suite, book: RuleBook, progress: Progress = unwatched) -> CaseRun:
    """Ask the rules about the chat of each case, which may stand in a file beside the test file.

    Raises RulesError with all problems of the cases.
    """

    def work(report: Progress) -> CaseRun:
        cases = suite.cases.cases(book, _Folder(suite.path.parent).chat)
        results = []
        for done, case in enumerate(cases):
            report(done, len(cases))
            results.append(run_case(book, case))
        expected = {each.rule for case in cases for each in case.expected}
        untested = (rule.name for rule in book.rules if rule.enabled and rule.name not in expected)
        return CaseRun(suite.path, suite.rules, tuple(results), tuple(untested))

    return await in_thread(work, progress)


@dataclass(frozen=True, slots=True)
class _Folder:
    """Where the names of chat files are looked up."""

    path: Path

    def chat(self, name: str) -> Chat:
        """Raises BadValue."""
        try:
            return read_chat(read_file(self.path / name))
        except OSError as error:
            what = f"{shown(name)} can't be read: {error.strerror or error}"
            raise BadValue(what, "a chat file is named as seen from this file") from None
        except (UnreadableHook, ValueError) as error:
            raise BadValue(f"{shown(name)} is no chat: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One rule that did otherwise than expected."""

    rule: str
    missing: tuple[str, ...] = ()
    """What was expected and did not happen: `Bad ratings -> managers`."""
    surplus: tuple[str, ...] = ()
    """What happened and was not expected."""
    reason: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """How a case ended."""

    case: Case
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        return not self.differences


def run_case(book: RuleBook, case: Case) -> Result:
    """What the rules say of the case's chat, held against what they should."""
    wanted = {each.rule: each for each in case.expected}
    verdicts = book.explain_view(_view(case))
    found = (_difference(verdict, wanted.get(verdict.rule)) for verdict in verdicts)
    return Result(case, tuple(each for each in found if each))


def _view(case: Case) -> ChatView:
    view = ChatView(moved(case.chat, case.at) if case.at else case.chat)
    for each, raw in (case.stated or {}).items():
        if each.put is None:
            # It follows from the messages; here it is said outright.
            view[each] = ready(raw, each.kind)
    for each in FIELDS.values() if case.stated is not None else ():
        if each.kind is Kind.YES_NO and view[each] is None:
            view[each] = False  # what nobody mentions is not so
    return view


def _difference(verdict: Verdict, wanted: Expected | None) -> Difference | None:
    expected, got = _wanted(verdict, wanted), _got(verdict, wanted)
    if expected == got:
        return None
    # Which rule holds is right, only whom it tells is not.
    explained = not (verdict.holds and wanted)
    return Difference(
        rule=verdict.rule,
        missing=tuple(line for line in expected if line not in got),
        surplus=tuple(line for line in got if line not in expected),
        reason=_reason(verdict, wanted),
        findings=verdict.findings if explained else (),
    )


def _wanted(verdict: Verdict, wanted: Expected | None) -> list[str]:
    if wanted is None:
        return []
    if wanted.told is None:
        return [verdict.rule]
    lines = sorted(_line(verdict.rule, name, whom) for name, whom in wanted.told.items())
    return lines or [f"{verdict.rule} -> nobody"]


def _got(verdict: Verdict, wanted: Expected | None) -> list[str]:
    """What happened, in words, in as much detail as was expected."""
    if not verdict.holds:
        return []
    if wanted and wanted.told is None:
        return [verdict.rule]
    told = wanted.told or {} if wanted else {}
    lines = [
        _line(
            verdict.rule, match.destination, match.recipients if told.get(match.destination) else ()
        )
        for match in verdict.matches
    ]
    return sorted(lines) or [f"{verdict.rule} -> nobody"]


def _line(rule: str, destination: str, recipients: Iterable[str]) -> str:
    whom = ", ".join(sorted(address.casefold() for address in recipients))
    return f"{rule} -> {destination}{': ' if whom else ''}{whom}"


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
            said = "it matches, but sends to others than expected" if wanted else "it matches"
            return "; ".join([said, *left_out])
