"""Operations on mutes: list, make and end them."""

from datetime import datetime
from typing import Annotated, Literal

from litestar import HttpMethod
from msgspec import Meta, Struct
from msgspec.structs import replace

from relay.console.json_api.api_request import Call, Instant, Line, Numbered, Reason, copied
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, missing, wrong
from relay.outbox.mutes import KeptMute
from relay.outbox.user_accounts import Role
from relay.rules import RuleBook, RulesError
from relay.rules.reading.mute_reader import with_condition
from relay.services.muting import LONGEST, can_hold_back, list_mutes, make_mute, unmute
from relay.timing.plan import Mute as NewMute

mutes = Operations("Mutes")


class Mute(Struct, kw_only=True):
    """A mute: notifications that are held back until a certain time."""

    id: int
    """The relay's number of the mute."""
    origin: str
    """Where it was made: file, command, console or api."""
    rule: str | None
    """The name of the rule that it holds back; null for any."""
    destination: str | None
    """The name of the destination that it holds back; null for any."""
    when: str | None
    """The condition that chats must meet, as in a rule's `when:`; null for none."""
    begins: datetime
    """When it begins, in UTC."""
    until: datetime
    """When it ends, in UTC."""
    because: str
    """The reason that its maker gave."""
    by: str
    """Who made the mute."""
    then: Literal["digest", "nothing"]
    """What happens at its end: one digest of what was held back, or nothing."""
    urgent_too: bool
    """Whether it holds back urgent rules."""
    alerts_too: bool
    """Whether it holds back the relay's alerts."""
    held: int
    """How many deliveries it has held back or dropped."""
    matches_no_rule: bool
    """Whether it concerns nothing in the rules in force."""


class MuteList(Struct, kw_only=True):
    """The mutes that are in force or will be."""

    mutes: list[Mute]
    """The mutes that are in force or will be."""


class MuteScope(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to mute: a rule, a destination, chats that meet a condition, or only what fits all given ones."""

    rule: Annotated[Line, Meta(description="The name of a rule in force.")] = ""
    destination: Annotated[Line, Meta(description="The name of a destination in force.")] = ""
    when: Annotated[
        str,
        Meta(max_length=2000, description="As in a rule's `when:`, such as {missed: true}."),
    ] = ""
    urgent_too: Annotated[bool, Meta(description="Also urgent rules, where no rule is named.")] = (
        False
    )
    alerts_too: Annotated[
        bool, Meta(description="Also the relay's alerts; only with a destination alone.")
    ] = False


class MuteRequest(MuteScope, kw_only=True, forbid_unknown_fields=True):
    """A mute to make: its scope, its end, and the reason."""

    until: Annotated[Instant, Meta(description="At most 31 days from now.")]
    because: Reason
    """Why; pages, digests and the log show it."""
    then: Annotated[
        Literal["digest", "nothing"],
        Meta(description="What becomes of what was held back: one digest at the end, or nothing."),
    ] = "digest"
    also_waiting: Annotated[
        bool, Meta(description="Also what waits already and was not tried yet.")
    ] = False


class MadeMute(Struct, kw_only=True):
    """A new mute, in force on every relay within two seconds."""

    id: int
    """The relay's number of the mute."""
    until: datetime
    """When it ends, in UTC."""
    held: int
    """How many waiting deliveries it holds back as well."""


class EndedMute(Struct, kw_only=True):
    """A mute that was ended: what it held back is sent now, or when hours and digests allow it."""

    id: int
    """The number of the mute."""


@mutes.operation(HttpMethod.GET, "/mutes", Role.VIEWER)
async def find_mutes(call: Call) -> MuteList:
    """The mutes that are in force or will be, with who made them, until when and why."""
    stored_mutes = await list_mutes(call.sessions, call.now)
    return MuteList(mutes=[mute_of(call, each) for each in stored_mutes])


def mute_of(call: Call, kept: KeptMute) -> Mute:
    """A stored mute as JSON."""
    mute = kept.mute
    return copied(
        Mute,
        mute,
        origin=kept.origin,
        rule=mute.rule or None,
        destination=mute.destination or None,
        when=mute.when or None,
        held=kept.matched,
        matches_no_rule=not can_hold_back(mute, call.running.parts.in_force.rules),
    )


@mutes.operation(HttpMethod.POST, "/mutes", Role.EDITOR, status=201, once=True)
async def mute(call: Call, body: MuteRequest) -> MadeMute:
    """Mute a rule, a destination, or chats that meet a condition, until a certain time."""
    if not call.now < body.until <= call.now + LONGEST:
        words = f"must be later than now, and at most {LONGEST.days} days from now"
        raise wrong("until", words)
    new, rules = mute_in_scope(call, body)
    new = replace(new, until=body.until, because=body.because.strip(), then=body.then)
    done = await make_mute(
        call.acting("mute", new.rule or new.destination or "by a condition", new.destination),
        new,
        rules,
        origin="api",
        also_waiting=body.also_waiting,
        now=call.now,
    )
    await call.running.parts.in_force.apply_mutes_and_pauses()
    return MadeMute(id=done.number, until=new.until, held=done.held)


def _refuse_scope(body: MuteScope, rules: RuleBook) -> None:
    """Raise Refusal where the scope names nothing, what does not go together, or what the rules don't have."""
    if not (body.rule or body.destination or body.when):
        raise Refusal(422, "Say what to mute: rule, destination or when.")
    if body.alerts_too and (body.rule or body.when or not body.destination):
        raise wrong("alerts_too", "is for a destination alone")
    if body.rule and body.rule not in {each.name for each in rules.rules}:
        raise wrong("rule", "there is no such rule in force")
    if body.destination and body.destination not in rules.destinations:
        raise wrong("destination", "there is no such destination in the rules in force")


def mute_in_scope(call: Call, body: MuteScope) -> tuple[NewMute, RuleBook]:
    """A mute with this scope that ends at once, and the rules with its condition. Raises Refusal."""
    rules, now = call.running.parts.in_force.rules, call.now
    _refuse_scope(body, rules)
    try:
        rules = with_condition(rules, body.when) if body.when else rules
    except RulesError as error:
        raise wrong("when", "; ".join(each.words for each in error.problems)) from None
    new = copied(
        NewMute, body, id=0, begins=now, until=now, because="", by=call.caller.name, then="digest"
    )
    if not can_hold_back(replace(new, when=""), rules) and not new.alerts_too:
        raise wrong("destination", "the rule does not send there")
    return new, rules


@mutes.operation(HttpMethod.DELETE, "/mutes/{number}", Role.EDITOR, refusals=(409,))
async def end_mute(call: Call, path: Numbered) -> EndedMute:
    """End a mute early."""
    rules = call.running.parts.in_force.rules
    stored_mutes = await list_mutes(call.sessions, call.now, ended=True)
    kept = next((each for each in stored_mutes if each.mute.id == path.number), None)
    if kept is None:
        raise missing(f"mute {path.number}")
    if kept.origin == "file" or not kept.lasts(call.now):
        raise _not_ended(path.number, of_file=kept.origin == "file")
    ending, _ = await unmute(
        call.acting("unmute", str(path.number)),
        path.number,
        by=call.caller.name,
        rules=rules,
        now=call.now,
    )
    await call.running.parts.in_force.apply_mutes_and_pauses()
    if ending != "ended":
        raise _not_ended(path.number, of_file=False)
    return EndedMute(id=path.number)


def _not_ended(number: int, *, of_file: bool) -> Refusal:
    words = "is one of the rules file, and is ended there" if of_file else "is over already"
    return Refusal(409, f"Mute {number} {words}.")
