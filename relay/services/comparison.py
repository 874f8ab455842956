"""`relay backtest`: two rules files against the chats that came in, whom the one tells and whom the other."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from relay.chat import Chat
from relay.rules.book import Match, Rule, RuleBook
from relay.rules.chat_view import ChatView
from relay.rules.reading.destinations import NOBODY
from relay.services import Progress, in_thread, read_all, unwatched
from relay.settings.database import Database
from relay.smartsupp import UnreadableHook, read_chat

Name = tuple[str, str]
"""Account and id of a chat."""
_Told = frozenset[tuple[str, str, str]]
"""Rule, destination and recipient of each notification; rule, `nobody` and "" where a rule for nobody holds."""
_NOTHING: _Told = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one rule. Chats are in the order in which they came."""

    rule: str
    for_nobody: bool
    """By the new rules it tells nobody, and its chats are those for which it holds."""
    before: int
    """Chats that the old rules tell by it."""
    after: int
    added: tuple[Name, ...]
    dropped: tuple[Name, ...]
    redirected: tuple[Name, ...]
    """Told by it before and after, but not to the same recipients."""

    def __bool__(self) -> bool:
        return bool(self.added or self.dropped or self.redirected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the new rules would have done otherwise."""

    chats: int
    told_before: int
    """Chats that went to somebody."""
    told_after: int
    changes: tuple[Change, ...]
    """For every rule of either file."""
    unreadable: int = 0
    """Stored hooks that hold no chat."""


async def backtest(
    database: Database,
    before: RuleBook,
    after: RuleBook,
    since: datetime | None = None,
    progress: Progress = unwatched,
) -> Comparison:
    """What the rules `after` would have sent instead of those `before`, for the chats that came in. Nothing is sent.

    `since`: aware; only chats that came in then or later. Raises StorageRefused and StorageUnavailable.
    """

    def work(report: Progress) -> Comparison:
        comparing, unreadable = Comparing(before, after), 0
        for hook in read_all(database, report, since):
            try:
                comparing.add(read_chat(hook.body, hook.received_at))
            except UnreadableHook:
                unreadable += 1
        return comparing.result(unreadable)

    return await in_thread(work, progress)


class Comparing:
    """Takes chats one by one. A chat of which several hooks came counts once: a repeated hook leads to nothing new."""

    def __init__(self, before: RuleBook, after: RuleBook) -> None:
        self._before = before
        self._after = after
        self._told: dict[Name, tuple[_Told, _Told]] = {}
        self._known: dict[_Told, _Told] = {}
        """Most chats go to the same recipients: one set serves them all."""

    def add(self, chat: Chat) -> None:
        view = ChatView(chat)
        name = (chat.account, chat.id)
        before, after = self._told.get(name, (_NOTHING, _NOTHING))
        self._told[name] = (
            self._with(before, self._before.held_view(view)),
            self._with(after, self._after.held_view(view)),
        )

    def _with(self, told: _Told, held: Iterable[tuple[Rule, Sequence[Match]]]) -> _Told:
        new = frozenset(
            each
            for rule, matches in held
            for each in ([(rule.name, NOBODY, "")] if rule.for_nobody else _recipients(matches))
        )
        both = told | new if told else new
        return self._known.setdefault(both, both)

    def result(self, unreadable: int = 0) -> Comparison:
        names = [rule.name for rule in self._after.rules]
        names += [rule.name for rule in self._before.rules if rule.name not in set(names)]
        by_rule = {name: _Tally() for name in names}
        for chat, (before, after) in self._told.items():
            for rule in {rule for rule, _, _ in before | after}:
                by_rule[rule].add(chat, _of(rule, before), _of(rule, after))
        return Comparison(
            chats=len(self._told),
            told_before=sum(_tells(before) for before, _ in self._told.values()),
            told_after=sum(_tells(after) for _, after in self._told.values()),
            changes=_changes(by_rule, {rule.name for rule in self._after.rules if rule.for_nobody}),
            unreadable=unreadable,
        )


def _recipients(matches: Iterable[Match]) -> Iterator[tuple[str, str, str]]:
    for match in matches:
        for recipient in match.recipients:
            yield match.rule, match.destination, recipient.casefold()


def _tells(told: _Told) -> bool:
    return any(destination != NOBODY for _, destination, _ in told)


def _of(rule: str, told: _Told) -> _Told:
    return frozenset(each for each in told if each[0] == rule)


class _Tally:
    """Counts for one rule."""

    def __init__(self) -> None:
        self.before = 0
        self.after = 0
        self.added: list[Name] = []
        self.dropped: list[Name] = []
        self.redirected: list[Name] = []

    def add(self, chat: Name, before: _Told, after: _Told) -> None:
        self.before += bool(before)
        self.after += bool(after)
        if before != after:
            kind = self.added if not before else self.dropped if not after else self.redirected
            kind.append(chat)


def _changes(tallies: Mapping[str, _Tally], for_nobody: Collection[str]) -> tuple[Change, ...]:
    return tuple(
        Change(
            rule=rule,
            for_nobody=rule in for_nobody,
            before=tally.before,
            after=tally.after,
            added=tuple(tally.added),
            dropped=tuple(tally.dropped),
            redirected=tuple(tally.redirected),
        )
        for rule, tally in tallies.items()
    )
