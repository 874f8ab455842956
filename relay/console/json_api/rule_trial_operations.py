"""Operations that try a rules text before it is published: on a chat, and on the test file."""

from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.draft_pages import text_in_force
from relay.console.json_api.api_request import Call, Line, copied
from relay.console.json_api.chat_json import RuleVerdict, verdict_of
from relay.console.json_api.delivery_json import ShownNotification, shown_notification
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, wrong
from relay.console.json_api.rules_operations import RulesRequest, file_problems, usable_rules
from relay.outbox.user_accounts import Role
from relay.rules import Finding, RulesError
from relay.services import in_thread
from relay.services.case_run import Result, case_file_of, read_suite, run_cases
from relay.services.draft_trial import NoSuchChat, Rendered, RulePair, find_hook, try_on_chat

rule_trials = Operations("Rules on trial")


class TryRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """A rules text to try on a chat."""

    chat: Annotated[Line, Meta(description="Its number, or `account/id` such as `208/910001`.")]
    text: Annotated[str, Meta(max_length=1_000_000)] | None = None
    """The text of a rules file; left out or null: the rules in force."""


class TriedRule(Struct, kw_only=True):
    """The verdicts of a rule on a chat: in force, and in the text."""

    rule: str
    """The name of the rule."""
    in_force: RuleVerdict | None
    """The verdict of the rule in force; null where no rule of this name is in force."""
    draft: RuleVerdict | None
    """The verdict of the rule in the text; null where it has no rule of this name."""
    is_changed: bool
    """Whether the rule in the text sends something different from the rule in force."""


class WouldBeSent(Struct, kw_only=True):
    """A notification that the text would send."""

    rule: str
    """The name of the rule that sends it."""
    destination: str
    """The name of the destination that gets it."""
    recipient: str
    """An email address; for other transports the name of the destination."""
    notification: ShownNotification
    """The rendered notification."""


class TriedChat(Struct, kw_only=True):
    """The result of trying a rules text on a chat. Nothing was sent."""

    hook: int
    """The number of the chat's newest hook, which was tried."""
    rules: list[TriedRule]
    """The rules in the order of the text, then those that are only in force."""
    notifications: list[WouldBeSent]
    """The notifications that the text would send; at most eight."""
    more: int
    """How many further notifications the text would send."""


class CaseDifference(Struct, kw_only=True):
    """A rule that did not do what a case expects."""

    rule: str
    """The name of the rule; empty for a story."""
    missing: tuple[str, ...]
    """The missing matches or notifications, such as `Bad ratings -> managers`."""
    surplus: tuple[str, ...]
    """The matches or notifications that were not expected."""
    reason: str
    """Why, in words."""
    findings: tuple[Finding, ...]
    """The result of each condition of the rule."""


class RunCase(Struct, kw_only=True):
    """The result of a case or a story of the test file."""

    name: str
    """The name in the test file."""
    line: int
    """The line in the test file, from 1."""
    passed: bool
    """Whether everything was as expected."""
    differences: list[CaseDifference]
    """The differences from what was expected; empty where the case passed."""


class CaseResults(Struct, kw_only=True):
    """The result of `relay test` for a text."""

    path: str
    """The path of the test file."""
    passed: int
    """How many cases and stories passed."""
    failed: int
    """How many cases and stories failed."""
    cases: list[RunCase]
    """The results in the order of the test file, stories last."""
    untested: tuple[str, ...]
    """The names of rules that no case expects to match."""


@rule_trials.operation(HttpMethod.POST, "/rules/try", Role.EDITOR)
async def try_rules(call: Call, body: TryRequest) -> TriedChat:
    """The verdicts of a rules text on one chat, compared with the rules in force, and what it would send. Nothing is sent."""
    source = await text_in_force(call.running) if body.text is None else body.text.encode()
    draft = await usable_rules(call, source)
    in_force, settings = call.running.parts.in_force.rules, call.running.ready.settings
    try:
        hook = await find_hook(call.sessions, body.chat)
        trial = await try_on_chat(hook, in_force, draft, settings, call.api.workers)
    except NoSuchChat:
        raise wrong("chat", "there is no chat of this number or name that can be read") from None
    return TriedChat(
        hook=trial.hook.id,
        rules=[_tried_rule(each) for each in trial.pairs],
        notifications=[_would_be_sent(each) for each in trial.shown],
        more=trial.more,
    )


def _tried_rule(pair: RulePair) -> TriedRule:
    in_force = verdict_of(pair.in_force) if pair.in_force else None
    draft = verdict_of(pair.draft) if pair.draft else None
    return copied(TriedRule, pair, in_force=in_force, draft=draft)


def _would_be_sent(shown: Rendered) -> WouldBeSent:
    notification = shown_notification(
        shown.notification,
        shown.destination.transport,
        shown.delivery.created_at,
        shown.trouble,
    )
    return copied(WouldBeSent, shown.delivery, notification=notification)


@rule_trials.operation(HttpMethod.POST, "/rules/test", Role.EDITOR, refusals=(404,))
async def test_rules(call: Call, body: RulesRequest) -> CaseResults:
    """Run the cases and stories of the test file beside the rules file on a text, as `relay test` does."""
    path = call.running.ready.settings.rules
    book, case_file = await usable_rules(call, body.text.encode()), case_file_of(path)
    if not await in_thread(lambda _: case_file.exists()):
        raise Refusal(404, f"There is no test file {case_file.name} beside the rules file.")
    try:
        run = await run_cases(await read_suite(case_file, path, path), book)
    except RulesError as error:
        words = f"The test file {case_file.name} can't be used with these rules."
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
        differences=[copied(CaseDifference, each) for each in result.differences],
    )
