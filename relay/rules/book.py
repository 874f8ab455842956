"""Rules and what they say of a chat. Pure: no files, no clock, no network."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from zoneinfo import ZoneInfo

from msgspec import Struct

from relay.chat import Chat
from relay.destination import Destination
from relay.rules.conditions import Condition, Finding, findings
from relay.rules.problem import Place, Problem
from relay.rules.recipients import Recipients
from relay.rules.schedules import Schedule
from relay.rules.silence import Silence
from relay.rules.time_limit import TimeLimit
from relay.rules.view import ChatView


class Match(Struct, frozen=True, kw_only=True):
    """A rule that holds, with one of its destinations."""

    rule: str
    template: str
    destination: str
    recipients: tuple[str, ...]
    """Mail addresses; for transports without addresses the destination's own name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An entry under `rules:`."""

    name: str
    conditions: tuple[Condition, ...]
    """All must hold."""
    send_to: tuple[str, ...]
    """Names of destinations."""
    template: str = "chat"
    enabled: bool = True
    stop: bool = False
    place: Place

    def holds(self, view: ChatView) -> bool:
        for condition in self.conditions:  # noqa: SIM110 - see conditions.All
            if not condition.holds(view):
                return False
        return True


class Standing(StrEnum):
    """What became of a rule for one chat."""

    HOLDS = "yes"
    FAILS = "no"
    OFF = "turned off"
    NOT_ASKED = "not asked"
    """An earlier rule held and said `stop`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One rule's answer about one chat, with every condition's finding."""

    rule: str
    standing: Standing
    findings: tuple[Finding, ...] = ()
    """Empty for a rule that is turned off or was not asked."""
    matches: tuple[Match, ...] = ()
    left_out: tuple[str, ...] = ()
    """Recipients that can't be used for this chat, in sentences."""
    stops: bool = False
    """It holds, and later rules are not asked."""
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
    """Of each destination."""
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    language: str = "en"
    alerts_to: tuple[str, ...] = ()
    """Destinations that are told when something is wrong with the relay itself."""
    silence: Silence | None = None
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
        """The same for a chat that is looked at already, perhaps by other rules."""
        return tuple(
            match
            for rule, standing, _ in self._standings(view)
            if standing is Standing.HOLDS
            for match in self._matches(rule, view)[0]
        )

    def matches_where_possible(
        self, view: ChatView, limit: Callable[[], TimeLimit]
    ) -> tuple[tuple[Match, ...], tuple[str, ...]]:
        """Each rule by itself, for a chat about which asking all has failed; and the names of those that fail.

        `limit` is made anew for each rule.
        """
        found: list[Match] = []
        failed: list[str] = []
        for rule in self.rules:
            view.limit = limit()
            try:
                matches = replace(self, rules=(rule,)).matches_view(view)
            except Exception:  # noqa: BLE001 - a bug of ours, whichever; the caller has it in the log
                failed.append(rule.name)
                continue
            found += matches
            if matches and rule.stop:
                break
        return tuple(found), tuple(failed)

    def if_it_held(self, rule: Rule, chat: Chat) -> tuple[tuple[Match, ...], tuple[str, ...]]:
        """Whom the rule would tell if it held, and a sentence for each recipient that can't be used."""
        return self._matches(rule, ChatView(chat))

    def explain(self, chat: Chat) -> tuple[Verdict, ...]:
        """The same in words: every rule's verdict, in the order of the file."""
        return self.explain_view(ChatView(chat))

    def explain_view(self, view: ChatView, *, only_held: bool = False) -> tuple[Verdict, ...]:
        """The same for a chat that is looked at already; `only_held` leaves out the rules that don't hold."""
        return tuple(
            self._verdict(rule, standing, by, view)
            for rule, standing, by in self._standings(view)
            if standing is Standing.HOLDS or not only_held
        )

    def _standings(self, view: ChatView) -> Iterator[tuple[Rule, Standing, str]]:
        """The one evaluation: each rule, what became of it, and which rule stopped it."""
        stopped_by = ""
        for number, rule in enumerate(self.rules):
            if number:
                view.check_time()
            if not rule.enabled:
                yield rule, Standing.OFF, ""
            elif stopped_by:
                yield rule, Standing.NOT_ASKED, stopped_by
            elif rule.holds(view):
                yield rule, Standing.HOLDS, ""
                stopped_by = rule.name if rule.stop else ""
            else:
                yield rule, Standing.FAILS, ""

    def _verdict(self, rule: Rule, standing: Standing, by: str, view: ChatView) -> Verdict:
        if standing in {Standing.OFF, Standing.NOT_ASKED}:
            return Verdict(rule=rule.name, standing=standing, stopped_by=by)
        holds = standing is Standing.HOLDS
        matches, left_out = self._matches(rule, view) if holds else ((), ())
        return Verdict(
            rule=rule.name,
            standing=standing,
            findings=findings(rule.conditions, view, self.timezone),
            matches=matches,
            left_out=left_out,
            stops=holds and rule.stop,
        )

    def _matches(self, rule: Rule, view: ChatView) -> tuple[tuple[Match, ...], tuple[str, ...]]:
        found: list[Match] = []
        left_out: list[str] = []
        for name in rule.send_to:
            addresses, bad = self.recipients[name].resolve_view(view)
            left_out += [f"{name}: {words}" for words in bad]
            if addresses:
                found.append(
                    Match(
                        rule=rule.name,
                        template=rule.template,
                        destination=name,
                        recipients=addresses,
                    )
                )
        return tuple(found), tuple(left_out)
