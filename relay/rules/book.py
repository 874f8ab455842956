"""Rules and what they say of a chat. Pure: no files, no clock, no network."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from relay.chat import Chat
from relay.destination import Destination
from relay.rules.chat_view import ChatView, TimeLimit
from relay.rules.conditions import Condition, Finding, findings
from relay.rules.reading.problem import Place, Problem
from relay.rules.recipients import Recipients
from relay.rules.schedules import Silence
from relay.timing.plan import Mute, OncePer
from relay.timing.schedule import Schedule


class Match(Struct, frozen=True, kw_only=True):
    """A rule that holds, with one of its destinations."""

    rule: str
    template: str
    destination: str
    recipients: tuple[str, ...]
    """Email addresses; for transports without addresses the destination's own name."""
    instead_of: str = ""
    """The destination that the rule names, if nobody can be reached there and this one is its fallback."""
    urgent: bool = False
    """Whether it does not wait for the destination's hours, digests and limits."""
    once_per: OncePer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An entry under `rules:`."""

    name: str
    conditions: tuple[Condition, ...]
    """All must hold."""
    send_to: tuple[str, ...]
    """Names of destinations; none where the file says `nobody`."""
    template: str = "chat"
    enabled: bool = True
    stop: bool = False
    urgent: bool = False
    """What it tells does not wait for a destination's hours, digests and limits."""
    once_per: OncePer | None = None
    """How often it tells of one visitor; None: of each chat."""
    place: Place

    @property
    def for_nobody(self) -> bool:
        """Whether the rule is meant to tell nobody; with `stop` it keeps chats from the rules below."""
        return not self.send_to

    def holds(self, view: ChatView) -> bool:
        for condition in self.conditions:  # noqa: SIM110 - see conditions.All
            if not condition.holds(view):
                return False
        return True


def urgent_and_muted(rules: Iterable[Rule], mute: Mute) -> list[str]:
    """The names of urgent rules for which a mute holds only if it says `urgent_too`, as it names no rule."""
    return [
        rule.name
        for rule in rules
        if rule.urgent
        and rule.enabled
        and not mute.rule
        and (mute.destination in rule.send_to or (not mute.destination and rule.send_to))
    ]


class Standing(StrEnum):
    """What became of a rule for one chat."""

    HOLDS = "yes"
    FAILS = "no"
    OFF = "turned off"
    NOT_ASKED = "not asked"
    """An earlier rule held and said `stop`."""


class Verdict(Struct, frozen=True, kw_only=True):
    """One rule's answer about one chat, with every condition's finding."""

    rule: str
    standing: Standing
    findings: tuple[Finding, ...] = ()
    """Empty for a rule that is turned off or was not asked."""
    matches: tuple[Match, ...] = ()
    left_out: tuple[str, ...] = ()
    """Recipients that can't be used for this chat, in sentences; they may hold the visitor's words."""
    unreached: tuple[str, ...] = ()
    """Destinations that the rule names, and at which nobody can be reached for this chat. Not kept in a record."""
    reaches_nobody: bool = False
    """Whether it holds, and nobody is told, not even at a fallback, though somebody was meant to be."""
    stops: bool = False
    """Whether it holds, reaches somebody or is meant for nobody, and later rules are not asked."""
    stopped_by: str = ""

    @property
    def holds(self) -> bool:
        return self.standing is Standing.HOLDS


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBook:
    """A rules file that was found good."""

    rules: tuple[Rule, ...]
    destinations: Mapping[str, Destination]
    recipients: Mapping[str, Recipients]
    """The recipients of each destination, by its name."""
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    language: str = "en"
    alerts_to: tuple[str, ...] = ()
    """Destinations that are told when something is wrong with the relay itself."""
    last_holidays: Mapping[str, date] = field(default_factory=dict)
    """The last holiday that is known of each region whose holidays a schedule takes (`CZ`, `DE-BY`)."""
    silence: Silence | None = None
    mutes: tuple[Mute, ...] = ()
    """With the number 0: the database gives each its own."""
    mute_conditions: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    """By `Mute.when`."""
    schedule_places: Mapping[str, Place] = field(default_factory=dict)
    """Where each schedule stands in the file."""
    warnings: tuple[Problem, ...] = ()
    hash: str = ""
    """SHA-256 of the file's bytes, in hex."""
    seconds: float = 0
    """What one condition may take for each byte of a hook, in the worst case."""
    secrets: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    """The name of every `$NAME` in the file, with the places where it stands."""
    needed_settings: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    """The settings that the destinations' transports need, with the options that ask for them."""

    def matches(self, chat: Chat) -> tuple[Match, ...]:
        """The rules that hold, each with each of its destinations, in the order of the file."""
        return self.matches_view(ChatView(chat))

    def matches_view(self, view: ChatView) -> tuple[Match, ...]:
        """The matches of a chat that is looked at already, perhaps by other rules."""
        return tuple([match for _, matches in self.held_view(view) for match in matches])

    def held_view(self, view: ChatView) -> Iterator[tuple[Rule, tuple[Match, ...]]]:
        """The rules that hold, in the order of the file, each with its matches."""
        for rule, standing, _, reach in self._asked(view):
            if standing is Standing.HOLDS:
                yield rule, reach.matches

    def verdicts_where_possible(
        self, view: ChatView, limit: Callable[[], TimeLimit]
    ) -> tuple[tuple[Verdict, ...], tuple[str, ...]]:
        """Ask each rule by itself about a chat for which asking all has failed: of those that hold, the verdicts without
        findings; and the names of those that fail. `limit` is made for each rule.
        """
        found: list[Verdict] = []
        failed: list[str] = []
        for rule in self.rules:
            view.time.limit = limit()
            try:
                if not (rule.enabled and rule.holds(view)):
                    continue
                verdict = _verdict(rule, Standing.HOLDS, "", self._reach(rule, view))
            except Exception:  # noqa: BLE001 - out of time, or a bug of ours; the caller has it in the log
                failed.append(rule.name)
                continue
            found.append(verdict)
            if verdict.stops:
                break
        return tuple(found), tuple(failed)

    def meets(self, when: str, chat: Chat) -> bool:
        """Whether a chat meets the condition of a mute: no chat does where this file has no such mute."""
        conditions = self.mute_conditions.get(when)
        view = ChatView(chat)
        return conditions is not None and all(each.holds(view) for each in conditions)

    def if_it_held(self, rule: Rule, chat: Chat) -> tuple[tuple[Match, ...], tuple[str, ...]]:
        """The matches of a rule if it held, and a sentence for each recipient that can't be used."""
        reach = self._reach(rule, ChatView(chat))
        return reach.matches, reach.left_out

    def explain(self, chat: Chat) -> tuple[Verdict, ...]:
        """What the rules say of a chat, in words: every rule's verdict, in the order of the file."""
        return self.explain_view(ChatView(chat))

    def explain_view(self, view: ChatView, *, only_held: bool = False) -> tuple[Verdict, ...]:
        """The verdicts upon a chat that is looked at already; `only_held` leaves out the rules that don't hold."""
        return tuple(
            [
                _verdict(rule, standing, by, reach, self._findings(rule, standing, view))
                for rule, standing, by, reach in self._asked(view)
                if standing is Standing.HOLDS or not only_held
            ]
        )

    def reach(self, name: str, view: ChatView) -> tuple[str, tuple[str, ...], list[str]]:
        """A destination with its recipients: the named one, or else the first of its fallbacks that reaches anybody.

        And a sentence for each recipient that can't be used. Without recipients nobody is reached.
        """
        addresses, left_out = self.recipients[name].resolve_view(view)
        words = [f"{name}: {each}" for each in left_out]
        fallback = self.destinations[name].fallback
        if addresses or not fallback:
            return name, addresses, words
        name, addresses, more = self.reach(fallback, view)
        return name, addresses, words + more

    def _asked(self, view: ChatView) -> Iterator[tuple[Rule, Standing, str, "_Reach"]]:
        """The one evaluation: each rule, what became of it, which rule stopped it, and whom it reaches."""
        stopped_by = ""
        for number, rule in enumerate(self.rules):
            if number:
                view.time.check()
            if not rule.enabled:
                yield rule, Standing.OFF, "", _NOBODY
            elif stopped_by:
                yield rule, Standing.NOT_ASKED, stopped_by, _NOBODY
            elif rule.holds(view):
                reach = self._reach(rule, view)
                yield rule, Standing.HOLDS, "", reach
                stopped_by = rule.name if _stops(rule, reach) else ""
            else:
                yield rule, Standing.FAILS, "", _NOBODY

    def _findings(self, rule: Rule, standing: Standing, view: ChatView) -> tuple[Finding, ...]:
        if standing in {Standing.OFF, Standing.NOT_ASKED}:
            return ()
        return findings(rule.conditions, view, self.timezone)

    def _reach(self, rule: Rule, view: ChatView) -> "_Reach":
        found: dict[str, Match] = {}
        left_out: list[str] = []
        unreached: list[str] = []
        for name in rule.send_to:
            place, addresses, words = self.reach(name, view)
            left_out += words
            if place != name or not addresses:
                unreached.append(name)
            # A fallback that the rule names itself is told as such.
            if not addresses or (place != name and place in (*rule.send_to, *found)):
                continue
            found[place] = Match(
                rule=rule.name,
                template=rule.template,
                destination=place,
                recipients=addresses,
                instead_of=name if place != name else "",
                urgent=rule.urgent,
                once_per=rule.once_per,
            )
        return _Reach(tuple(found.values()), tuple(left_out), tuple(unreached))


class _Reach(NamedTuple):
    """Whom a rule reaches that holds."""

    matches: tuple[Match, ...]
    left_out: tuple[str, ...]
    unreached: tuple[str, ...]


_NOBODY = _Reach((), (), ())


def _stops(rule: Rule, reach: _Reach) -> bool:
    """Whether the rule, if it holds, keeps the chat from those below."""
    return rule.stop and (rule.for_nobody or bool(reach.matches))


def _verdict(
    rule: Rule, standing: Standing, by: str, reach: _Reach, found: tuple[Finding, ...] = ()
) -> Verdict:
    return Verdict(
        rule=rule.name,
        standing=standing,
        findings=found,
        matches=reach.matches,
        left_out=reach.left_out,
        unreached=reach.unreached,
        reaches_nobody=standing is Standing.HOLDS and not (reach.matches or rule.for_nobody),
        stops=standing is Standing.HOLDS and _stops(rule, reach),
        stopped_by=by,
    )
