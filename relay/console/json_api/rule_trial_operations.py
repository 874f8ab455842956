"""A text of the rules file tried before it is published, as the JSON API tells it: on one chat, and on the cases of the test file."""

from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.draft_pages import text_in_force
from relay.console.json_api.call import Call, Line
from relay.console.json_api.chat_json import RuleVerdict, verdict_of
from relay.console.json_api.notification_json import ShownNotification, shown_notification
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, wrong
from relay.console.json_api.rules_operations import RulesRequest, file_problems, usable_rules
from relay.outbox.people import Role
from relay.rules import Finding, RulesError
from relay.services import in_thread
from relay.services.case_run import Difference, Result, cases_beside, read_suite, run_cases
from relay.services.draft_trial import NoSuchChat, find_hook, try_on_chat

rule_trials = Operations("Rules on trial")


class TryRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """Rules to try on a chat."""

    chat: Annotated[Line, Meta(description="Its number, or `account/id` such as `208/910001`.")]
    text: Annotated[str, Meta(max_length=1_000_000)] | None = None
    """Of a rules file; left out or null: the rules in force."""


class TriedRule(Struct, kw_only=True):
    """What a rule says of a chat: in force, and as the text has it."""

    rule: str
    """Its name."""
    in_force: RuleVerdict | None
    """Null where no rule of this name is in force."""
    draft: RuleVerdict | None
    """By the text that was sent; null where it has no rule of this name."""
    is_changed: bool
    """Whether something else is sent by the text than by the rules in force."""


class WouldBeSent(Struct, kw_only=True):
    """A notification that the text would have sent."""

    rule: str
    """The name of the rule that sends it."""
    destination: str
    """The name of the destination that gets it."""
    recipient: str
    """An email address; for other transports the name of the destination."""
    notification: ShownNotification
    """As it would be sent."""


class TriedChat(Struct, kw_only=True):
    """What rules make of a chat. Nothing was sent."""

    hook: int
    """The number of the chat's newest hook, which was tried."""
    rules: list[TriedRule]
    """In the order of the text, then those that it does not have any more."""
    notifications: list[WouldBeSent]
    """What the text would send; at most eight."""
    more: int
    """How many it would send beside those."""


class CaseDifference(Struct, kw_only=True):
    """A rule that did otherwise than a case expects."""

    rule: str
    """Its name; empty for a story."""
    missing: tuple[str, ...]
    """What was expected and did not happen: `Bad ratings -> managers`."""
    surplus: tuple[str, ...]
    """What happened and was not expected."""
    reason: str
    """Why, in words."""
    findings: tuple[Finding, ...]
    """The answer of each condition of the rule."""


class RunCase(Struct, kw_only=True):
    """How a case or a story of the test file ended."""

    name: str
    """As the test file has it."""
    line: int
    """Where it stands in the test file, from 1."""
    passed: bool
    """Whether all was as expected."""
    differences: list[CaseDifference]
    """Empty where it passed."""


class CaseResults(Struct, kw_only=True):
    """What `relay test` says of a text."""

    path: str
    """Of the test file."""
    passed: int
    """How many cases and stories passed."""
    failed: int
    """How many did not."""
    cases: list[RunCase]
    """In the order of the test file, the stories last."""
    untested: tuple[str, ...]
    """Rules that no case expects to match."""


@rule_trials.operation(HttpMethod.POST, "/rules/try", Role.EDITOR)
async def try_rules(call: Call, body: TryRequest) -> TriedChat:
    """What a text of the rules makes of one chat, beside the rules in force, and what it would send. Nothing is sent."""
    source = await text_in_force(call.running) if body.text is None else body.text.encode()
    draft = await usable_rules(call, source)
    running = call.running
    try:
        hook = await find_hook(call.sessions, body.chat)
        found = await try_on_chat(
            hook,
            running.parts.in_force.rules,
            draft,
            running.ready.settings,
            call.api.workers,
        )
    except NoSuchChat:
        raise wrong("chat", "there is no chat of this number or name that can be read") from None
    return TriedChat(
        hook=found.hook.id,
        rules=[
            TriedRule(
                rule=each.rule,
                in_force=verdict_of(each.in_force) if each.in_force else None,
                draft=verdict_of(each.draft) if each.draft else None,
                is_changed=each.is_changed,
            )
            for each in found.pairs
        ],
        notifications=[
            WouldBeSent(
                rule=each.delivery.rule,
                destination=each.delivery.destination,
                recipient=each.delivery.recipient,
                notification=shown_notification(
                    each.notification,
                    each.destination.transport,
                    each.delivery.created_at,
                    each.trouble,
                ),
            )
            for each in found.shown
        ],
        more=found.more,
    )


@rule_trials.operation(HttpMethod.POST, "/rules/test", Role.EDITOR, refusals=(404,))
async def test_rules(call: Call, body: RulesRequest) -> CaseResults:
    """Run the cases and stories of the test file beside the rules file on a text, as `relay test` does."""
    path = call.running.ready.settings.rules
    book, beside = await usable_rules(call, body.text.encode()), cases_beside(path)
    if not await in_thread(lambda _: beside.exists()):
        raise Refusal(404, f"There is no test file {beside.name} beside the rules file.")
    try:
        run = await run_cases(await read_suite(beside, path, path), book)
    except RulesError as error:
        words = f"The test file {beside.name} can't be used with these rules."
        problems = file_problems(error.problems)
        raise Refusal(422, words, kind="cases-unusable", problems=problems) from None
    return CaseResults(
        path=str(run.path),
        passed=len(run.results) - len(run.failures),
        failed=len(run.failures),
        cases=list(map(_case, run.results)),
        untested=run.untested,
    )


def _case(result: Result) -> RunCase:
    return RunCase(
        name=result.case.name,
        line=result.case.place.line,
        passed=result.passed,
        differences=list(map(_difference, result.differences)),
    )


def _difference(one: Difference) -> CaseDifference:
    return CaseDifference(
        rule=one.rule,
        missing=one.missing,
        surplus=one.surplus,
        reason=one.reason,
        findings=one.findings,
    )
