"""`relay backtest`: compares whom two rules files would notify of the chats that came in."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from relay.chat import Chat
from relay.outbox.database_session import Sessions
from relay.outbox.past_chats import PastHook
from relay.rules.compared_values import ChatView
from relay.rules.reading.destination_reader import NOBODY
from relay.rules.rule_book import Match, Rule, RuleBook
from relay.services import Progress, in_thread, read_all, unwatched
from relay.services.explanation import arrive
from relay.smartsupp import UnreadableHook, read_chat
from relay.timing.plan import MUTED
from relay.timing.simulation import Sent, Simulation

Name = tuple[str, str]
"""The name of a chat: its account and id."""
_Recipients = frozenset[tuple[str, str, str]]
"""Rule, destination and recipient of each notification; for a matching rule for nobody its name, `nobody` and ""."""
_NOTHING: _Recipients = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the chats of one rule change. Chats are in the order in which they came."""

    rule: str
    for_nobody: bool
    """Whether the rule notifies nobody by the new rules; then its chats are those that it matches."""
    before: int
    """How many chats the rule sends by the old rules. (`after`: by the new rules.)"""
    after: int
    added: tuple[Name, ...]
    dropped: tuple[Name, ...]
    redirected: tuple[Name, ...]
    """Chats sent by it before and after, but to other recipients."""

    def __bool__(self) -> bool:
        return bool(self.added or self.dropped or self.redirected)


@dataclass(slots=True, kw_only=True)
class Times:
    """When the new rules would have sent their notifications, counted for each recipient."""

    at_once: int = 0
    """How many notifications are sent at once."""
    later: int = 0
    """Sent by themselves when their destination's hours began."""
    digests: int = 0
    """How many digests are sent."""
    in_digests: int = 0
    """Notifications sent in a digest, even if alone."""
    left_out: int = 0
    """How many notifications are never sent: muted, outside the hours, or once per visitor."""
    muted: int = 0
    """How many of all were held back or left out by a mute of the rules file."""
    longest_wait: timedelta = timedelta()
    """The longest time that a notification waits; in JSON an ISO 8601 duration such as `PT3600S`."""

    def count(self, sent: Sent) -> None:
        """Count a sent notification or digest."""
        self.longest_wait = max(self.longest_wait, sent.longest_wait)
        self.muted += sum(each.plan.why.startswith(MUTED) for each in sent.members)
        if sent.members[0].plan.in_digest:
            self.digests += 1
            self.in_digests += len(sent.members)
        elif sent.longest_wait > timedelta():
            self.later += 1
        else:
            self.at_once += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the results of two rules files differ."""

    chats: int
    told_before: int
    """How many chats were sent to somebody by the old rules."""
    told_after: int
    changes: tuple[Change, ...]
    """One for every rule of either file."""
    unreadable: int = 0
    """How many stored hooks can't be read as chats."""
    times: Times | None = None
    """How long notifications wait; None where the new rules send everything at once."""


async def backtest(
    sessions: Sessions,
    before: RuleBook,
    after: RuleBook,
    since: datetime | None = None,
    progress: Progress = unwatched,
) -> Comparison:
    """Compare what the rules `after` would have sent with what those `before` would have, for stored chats.

    Nothing is sent. `since`: aware; only chats that came in then or later. Raises StorageRefused and
    StorageUnavailable.
    """

    def work(report: Progress) -> Comparison:
        comparing = Comparing(before, after)
        for hook in read_all(sessions, report, since):
            comparing.read(hook)
        return comparing.result()

    return await in_thread(work, progress)


class Comparing:
    """Compares chats one by one. A chat with several hooks counts once, as a repeated hook leads to nothing new."""

    def __init__(self, before: RuleBook, after: RuleBook, *, newest_first: bool = False) -> None:
        """`newest_first`: the order in which chats come; then the times of notifications are not computed."""
        self._before = before
        self._after = after
        self._newest_first = newest_first
        self._unreadable = 0
        self._by_chat: dict[Name, tuple[_Recipients, _Recipients]] = {}
        self._known: dict[_Recipients, _Recipients] = {}
        """Sets already seen, so that equal ones are stored once: most chats have the same recipients."""
        self._times = Times() if waits(after) and not newest_first else None
        self._simulation = Simulation()

    def read(self, hook: PastHook) -> None:
        """Count the chat of a hook, or the hook as unreadable."""
        try:
            self.add(read_chat(hook.body, hook.received_at), hook.received_at)
        except UnreadableHook:
            self._unreadable += 1

    def add(self, chat: Chat, arrived: datetime) -> None:
        """Count a chat. `arrived`: aware, when its hook came in."""
        view = ChatView(chat)
        name = (chat.account, chat.id)
        if self._newest_first:  # a chat is placed by its first hook
            before, after = self._by_chat.pop(name, (_NOTHING, _NOTHING))
        else:
            before, after = self._by_chat.get(name, (_NOTHING, _NOTHING))
        self._by_chat[name] = (
            self._with(before, self._before.held_view(view)),
            self._with(after, self._after.held_view(view)),
        )
        if self._times:
            self._arrive(self._times, chat, view, after, arrived)

    def _arrive(
        self, times: Times, chat: Chat, view: ChatView, notified: _Recipients, arrived: datetime
    ) -> None:
        """Add a chat to the simulation. A later hook of a chat notifies only recipients who were not notified before."""
        matches = [
            replace(
                match,
                recipients=tuple(
                    each
                    for each in match.recipients
                    if (match.rule, match.destination, each.casefold()) not in notified
                ),
            )
            for match in self._after.matches_view(view)
        ]
        name = f"{chat.account}/{chat.id}"
        arrive(self._simulation, self._after, chat, matches, arrived=arrived, name=name)
        for sent in self._simulation.take():
            times.count(sent)

    def _end_times(self, times: Times) -> None:
        """Count what is still waiting in the simulation, and what it has left out."""
        for sent in self._simulation.run():
            times.count(sent)
        times.left_out = len(self._simulation.left_out)
        muted = [each for each in self._simulation.left_out if each.plan.why.startswith(MUTED)]
        times.muted += len(muted)

    def _with(self, old: _Recipients, held: Iterable[tuple[Rule, Sequence[Match]]]) -> _Recipients:
        new = frozenset(
            each
            for rule, matches in held
            for each in ([(rule.name, NOBODY, "")] if rule.for_nobody else _recipients(matches))
        )
        both = old | new if old else new
        return self._known.setdefault(both, both)

    def result(self) -> Comparison:
        """The comparison so far. With `newest_first` it can be taken repeatedly."""
        if self._times:
            self._end_times(self._times)
        names = [rule.name for rule in self._after.rules]
        names += [rule.name for rule in self._before.rules if rule.name not in set(names)]
        by_rule = {name: _Tally() for name in names}
        pairs = self._by_chat.items()
        for chat, (before, after) in reversed(pairs) if self._newest_first else pairs:
            for rule in {rule for rule, _, _ in before | after}:
                by_rule[rule].add(chat, _of_rule(rule, before), _of_rule(rule, after))
        return Comparison(
            chats=len(self._by_chat),
            told_before=sum(_reaches_somebody(before) for before, _ in self._by_chat.values()),
            told_after=sum(_reaches_somebody(after) for _, after in self._by_chat.values()),
            changes=_changes(by_rule, {rule.name for rule in self._after.rules if rule.for_nobody}),
            unreadable=self._unreadable,
            times=self._times,
        )


def waits(book: RuleBook) -> bool:
    """Whether these rules may send anything later than at once."""
    return (
        bool(book.mutes)
        or any(each.timing.waits for each in book.destinations.values())
        or any(rule.once_per for rule in book.rules)
    )


def _recipients(matches: Iterable[Match]) -> Iterator[tuple[str, str, str]]:
    for match in matches:
        for recipient in match.recipients:
            yield match.rule, match.destination, recipient.casefold()


def _reaches_somebody(recipients: _Recipients) -> bool:
    return any(destination != NOBODY for _, destination, _ in recipients)


def _of_rule(rule: str, recipients: _Recipients) -> _Recipients:
    return frozenset(each for each in recipients if each[0] == rule)


class _Tally:
    """The counts of one rule."""

    def __init__(self) -> None:
        self.before = 0
        self.after = 0
        self.added: list[Name] = []
        self.dropped: list[Name] = []
        self.redirected: list[Name] = []

    def add(self, chat: Name, before: _Recipients, after: _Recipients) -> None:
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
