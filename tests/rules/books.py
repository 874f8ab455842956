"""Short ways in: a condition or a file as text -> what the rules say."""

from textwrap import dedent

from relay.chat import Chat
from relay.rules import RuleBook, RulesError, read_rules
from relay.transports.registry import TRANSPORTS

TEMPLATES = ("chat", "low_rating", "missed", "offline", "vip")

_SCHEDULES = """\
timezone: Europe/Prague
schedules:
  office: {days: mon-fri, hours: 08:00-17:00, except: [2026-12-24]}
destinations:
  desk: {email: {to: desk@example.com}}
"""


def a_book(text: str) -> RuleBook:
    """The file `text`, read with the transports and the templates that are shipped."""
    return read_rules(
        dedent(text).encode(), "rules.yaml", transports=TRANSPORTS, templates=TEMPLATES
    )


def problems_of(text: str) -> list[str]:
    """What is wrong with the file `text`, without the file's name."""
    try:
        a_book(text)
    except RulesError as error:
        return [str(problem).removeprefix("rules.yaml:").strip() for problem in error.problems]
    return []


def a_rule_when(condition: str) -> str:
    """A file with one rule, its `when:` in YAML's flow form: `{missed: true}`."""
    return f"{_SCHEDULES}rules:\n  - {{name: The rule, send_to: desk, when: {condition}}}\n"


def holds(condition: str, chat: Chat) -> bool:
    """Whether a rule with this `when:` holds; asked both ways, which must agree."""
    book = a_book(a_rule_when(condition))
    told = bool(book.matches(chat))
    (verdict,) = book.explain(chat)
    assert verdict.holds is told
    assert all(finding.holds for finding in verdict.findings) is told
    return told


def why(condition: str, chat: Chat) -> str:
    """The first finding, in words."""
    (verdict,) = a_book(a_rule_when(condition)).explain(chat)
    return str(verdict.findings[0])


def trouble(condition: str) -> str:
    """The one problem of a `when:`, without its place."""
    (problem,) = problems_of(a_rule_when(condition))
    return problem.split(" ", 1)[1]
