"""Operations that describe the rules in force: their conditions in words, how often each sent a chat, and near misses."""

from datetime import datetime

from litestar import HttpMethod
from msgspec import Struct

from relay.console.file_access import rules_file
from relay.console.json_api.api_request import Call, copied
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import missing
from relay.console.json_api.rules_operations import readable_text
from relay.console.rules_page import COUNTED
from relay.outbox.user_accounts import Role
from relay.rules import Finding
from relay.rules.compare_rules import words_of
from relay.rules.line_edits import text_of_rule
from relay.rules.rule_book import Rule
from relay.services import in_thread
from relay.services.recent_counts import RuleCount, near_misses, rule_counts

rules_in_force = Operations("Rules in force")


class RuleInForce(Struct, kw_only=True):
    """A rule in force, in words."""

    name: str
    """The name of the rule in the rules file."""
    is_on: bool
    """Whether the rule is turned on."""
    conditions: tuple[str, ...]
    """The conditions in words, one each; nested ones are indented by two spaces for each level."""
    send_to: tuple[str, ...]
    """The names of its destinations; may be empty."""
    template: str
    """The name of the template for its notifications."""
    stop: bool
    """Whether the rules below it are skipped where it matches."""
    urgent: bool
    """Whether its notifications ignore hours, digests and limits."""
    chats: int
    """How many chats it sent in the last 30 days."""
    last: datetime | None
    """When its newest delivery in the last 30 days was made, in UTC; null for none."""


class RuleList(Struct, kw_only=True):
    """The rules in force."""

    hash: str
    """SHA-256 in hex of the rules file in force."""
    rules: list[RuleInForce]
    """The rules, in the order of the rules file."""


class RuleName(Struct, forbid_unknown_fields=True):
    """A path that ends with the name of a rule."""

    name: str
    """The name of a rule, percent-encoded."""


class NearMiss(Struct, kw_only=True):
    """A chat that met all conditions of a rule but one."""

    chat: int
    """The number of the chat."""
    visitor: str
    """The visitor's name; may be empty."""
    at: datetime
    """When the hook came in, in UTC."""
    finding: Finding
    """The condition that was not met, and the value that the chat had."""


class RuleDetails(Struct, kw_only=True):
    """A rule in force with its text. `/chats?rule=` lists the chats that it sent."""

    rule: RuleInForce
    """The rule in words."""
    text: str
    """The text of the rule in the rules file."""
    near: list[NearMiss]
    """The newest chats that it nearly matched, at most ten."""


@rules_in_force.operation(HttpMethod.GET, "/rules/in-force", Role.VIEWER)
async def list_rules(call: Call) -> RuleList:
    """The rules in force in words, with how many chats each sent in the last 30 days."""
    book = call.running.parts.in_force.rules
    counts = await rule_counts(call.sessions, call.now - COUNTED)
    listed = await in_thread(lambda _: [_rule(rule, counts.get(rule.name)) for rule in book.rules])
    return RuleList(hash=book.hash, rules=listed)


@rules_in_force.operation(HttpMethod.GET, "/rules/in-force/{name}", Role.VIEWER)
async def get_rule(call: Call, path: RuleName) -> RuleDetails:
    """A rule in force with its text, and the chats that it nearly matched."""
    book = call.running.parts.in_force.rules
    rule = next((each for each in book.rules if each.name == path.name), None)
    if rule is None:
        raise missing("such rule in force")
    counts = await rule_counts(call.sessions, call.now - COUNTED)
    kept = await rules_file(call.running).history.version(book.hash)
    source = kept[1] if kept else b""
    text = await in_thread(lambda _: text_of_rule(source, rule.name))
    near = await near_misses(call.sessions, rule.name)
    return RuleDetails(
        rule=_rule(rule, counts.get(rule.name)),
        text=await readable_text(call, text.encode(), is_refused=False),
        near=[copied(NearMiss, each) for each in near],
    )


def _rule(rule: Rule, count: RuleCount | None) -> RuleInForce:
    return copied(
        RuleInForce,
        rule,
        is_on=rule.enabled,
        conditions=words_of(rule),
        chats=count.chats if count else 0,
        last=count.last if count else None,
    )
