"""Tries rules on past chats while somebody watches: the numbers of `relay backtest`, newest chats first, as they grow."""

from datetime import datetime
from pathlib import Path

from msgspec import Struct

from relay.outbox.database_session import CommandSessions
from relay.runtime.startup import read_rule_book
from relay.services import read_all
from relay.services.backtesting import Change, Comparing, Comparison, Name, Times, waits
from relay.services.child_process import Reporter
from relay.settings.database import Database
from relay.settings.table import Settings

FEW = 20
"""How many chats are named for each change of a rule."""


class RuleNumbers(Struct, frozen=True, kw_only=True):
    """The numbers of a `Change`, with the names of only some chats."""

    rule: str
    """The name of the rule."""
    for_nobody: bool
    """Whether the rule in the text has no recipients, so that its chats are those that match."""
    before: int
    """How many chats the rule in force sends."""
    after: int
    """How many chats the rule in the text sends."""
    added: int
    """How many chats only the rule in the text sends."""
    dropped: int
    """How many chats only the rule in force sends."""
    redirected: int
    """How many chats the rule sends both by the rules in force and by the text, but to different recipients."""
    some_added: tuple[Name, ...]
    """Account and id of some of the chats in `added`, newest first, at most 20."""
    some_dropped: tuple[Name, ...]
    """Account and id of some of the chats in `dropped`."""
    some_redirected: tuple[Name, ...]
    """Account and id of some of the chats in `redirected`."""

    @property
    def is_changed(self) -> bool:
        """Whether the new rules would send anything differently by this rule."""
        return bool(self.added or self.dropped or self.redirected)


class Numbers(Struct, frozen=True, kw_only=True):
    """The numbers of a `Comparison`, for the hooks that were read so far. Hooks are read from the newest to the oldest."""

    chats: int
    """How many chats were looked at."""
    told_before: int
    """The number of chats for which the rules in force send a notification."""
    told_after: int
    """The number of chats for which the edited rules send a notification."""
    rules: tuple[RuleNumbers, ...]
    """The numbers of each rule in force or in the text."""
    unreadable: int
    """How many stored hooks hold no chat that can be read."""
    times: Times | None
    """How long notifications wait; None until all hooks were read, and where everything is sent at once."""
    back_to: datetime | None
    """When the oldest hook that was read came in; None where there is none."""


class Trial(Struct, frozen=True, kw_only=True):
    """Rules to try on past chats, and the rules that they are compared with."""

    database: Database
    before: bytes
    """The bytes of the rules file in force."""
    after: bytes
    path: Path
    """The path of the rules file."""
    templates: Path | None
    since: datetime | None
    """Aware; None: all stored chats."""


def try_on_past(trial: Trial, reporter: Reporter) -> Numbers:
    """The numbers of `relay backtest`, reported as they grow. Runs in a child process.

    Raises RulesError, StorageRefused and StorageUnavailable.
    """
    settings, name = Settings(templates=trial.templates), str(trial.path)
    before, after = (read_rule_book(each, name, settings) for each in (trial.before, trial.after))
    sessions, is_timed = CommandSessions(trial.database), waits(after)
    comparing = Comparing(before, after, newest_first=True)
    back_to: datetime | None = None
    rounds = 2 if is_timed else 1

    def first(done: int, total: int) -> None:
        reporter.progress(done, rounds * total)
        reporter.report_when_due(lambda: _numbers(comparing.result(), back_to))

    for hook in read_all(sessions, first, trial.since, newest_first=True):
        comparing.read(hook)
        back_to = hook.received_at
    comparison = comparing.result()
    if not is_timed:
        return _numbers(comparison, back_to)
    reporter.report(_numbers(comparison, back_to))
    # The times depend on earlier chats, so they are computed oldest first.
    in_order = Comparing(after, after)
    second = lambda done, total: reporter.progress(total + done, 2 * total)  # noqa: E731
    for hook in read_all(sessions, second, trial.since):
        in_order.read(hook)
    return _numbers(comparison, back_to, in_order.result().times)


def _numbers(compared: Comparison, back_to: datetime | None, times: Times | None = None) -> Numbers:
    return Numbers(
        chats=compared.chats,
        told_before=compared.told_before,
        told_after=compared.told_after,
        rules=tuple(map(_numbers_of_rule, compared.changes)),
        unreadable=compared.unreadable,
        times=times,
        back_to=back_to,
    )


def _numbers_of_rule(change: Change) -> RuleNumbers:
    return RuleNumbers(
        rule=change.rule,
        for_nobody=change.for_nobody,
        before=change.before,
        after=change.after,
        added=len(change.added),
        dropped=len(change.dropped),
        redirected=len(change.redirected),
        some_added=change.added[::-1][:FEW],
        some_dropped=change.dropped[::-1][:FEW],
        some_redirected=change.redirected[::-1][:FEW],
    )
