"""The rules in force in words, as the JSON API tells them: what each sends, how often it did, and what it nearly matched."""

from datetime import datetime

from litestar import HttpMethod
from msgspec import Struct

from relay.console.json_api.call import Call
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import not_there
from relay.console.json_api.rules_operations import readable_text
from relay.console.rules_file_access import rules_file
from relay.console.rules_page import COUNTED, FEW
from relay.outbox.people import Role
from relay.rules import Finding
from relay.rules.book import Rule
from relay.rules.differences import words_of
from relay.rules.splicing import text_of_rule
from relay.services import in_thread
from relay.services.rule_counts import RuleCount, near_misses, rule_counts

rules_in_force = Operations("Rules in force")


class RuleInForce(Struct, kw_only=True):
    """A rule as people read it."""

    name: str
    """As the rules file has it."""
    is_on: bool
    """False: it is turned off, and sends nothing."""
    conditions: tuple[str, ...]
    """In words, one for each; those within others begin with two blanks for each level."""
    send_to: tuple[str, ...]
    """Names of destinations; empty where it sends to nobody."""
    template: str
    """The name of the template that its notifications are made by."""
    stop: bool
    """Where it matches, the rules below it are not asked."""
    urgent: bool
    """Its notifications don't wait for hours, digests and limits."""
    chats: int
    """How many chats it sent in the last 30 days."""
    last: datetime | None
    """When it made its newest delivery in these days, in UTC; null for none."""


class RuleList(Struct, kw_only=True):
    """The rules in force."""

    hash: str
    """SHA-256 in hex of the rules file that they come from."""
    rules: list[RuleInForce]
    """In the order in which they are asked."""


class RuleName(Struct, forbid_unknown_fields=True):
    """A path that ends with the name of a rule."""

    name: str
    """The name of a rule, percent-encoded."""


class NearMiss(Struct, kw_only=True):
    """A chat of which all conditions of a rule were met but one."""

    chat: int
    """Its number."""
    visitor: str
    """The visitor's name; may be empty."""
    at: datetime
    """When its hook came, in UTC."""
    finding: Finding
    """The condition that was not met, and what stood there."""


class RuleDetails(Struct, kw_only=True):
    """A rule in force with its text. The chats that it sent: `/chats?rule=`."""

    rule: RuleInForce
    """In words."""
    text: str
    """As it stands in the rules file."""
    near: list[NearMiss]
    """The newest chats that it nearly matched, at most ten."""


@rules_in_force.operation(HttpMethod.GET, "/rules/in-force", Role.VIEWER)
async def list_rules(call: Call) -> RuleList:
    """The rules in force in words, with how many chats each sent in the last 30 days."""
    book = call.running.parts.in_force.rules
    counts = await rule_counts(call.sessions, call.now - COUNTED)
    made = await in_thread(lambda _: [_in_words(one, counts.get(one.name)) for one in book.rules])
    return RuleList(hash=book.hash, rules=made)


@rules_in_force.operation(HttpMethod.GET, "/rules/in-force/{name}", Role.VIEWER)
async def get_rule(call: Call, path: RuleName) -> RuleDetails:
    """A rule in force with its text, and the chats that it nearly matched."""
    book = call.running.parts.in_force.rules
    rule = next((each for each in book.rules if each.name == path.name), None)
    if rule is None:
        raise not_there("such rule in force")
    counts = await rule_counts(call.sessions, call.now - COUNTED)
    kept = await rules_file(call.running).history.version(book.hash)
    source = kept[1] if kept else b""
    text = await in_thread(lambda _: text_of_rule(source, rule.name))
    near = await near_misses(call.sessions, rule.name, most=FEW)
    return RuleDetails(
        rule=_in_words(rule, counts.get(rule.name)),
        text=readable_text(call, text.encode(), is_refused=False),
        near=[
            NearMiss(chat=each.chat, visitor=each.visitor, at=each.at, finding=each.finding)
            for each in near
        ],
    )


def _in_words(rule: Rule, count: RuleCount | None) -> RuleInForce:
    return RuleInForce(
        name=rule.name,
        is_on=rule.enabled,
        conditions=words_of(rule),
        send_to=rule.send_to,
        template=rule.template,
        stop=rule.stop,
        urgent=rule.urgent,
        chats=count.chats if count else 0,
        last=count.last if count else None,
    )
