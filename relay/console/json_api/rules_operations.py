"""Operations on the rules file: read, check and publish it, and list its versions."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.file_access import author_of, readable, rules_file
from relay.console.json_api.api_request import Call, Line, copied
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import FileProblem, Refusal, TextFix, wrong
from relay.languages import LANGUAGES
from relay.outbox.user_accounts import Role
from relay.rules import Problem, RuleBook, RulesError
from relay.rules.compare_rules import Change
from relay.rules.json_schema import json_schema
from relay.rules.line_edits import NotSpliced, line_of_rule, text_of_rule
from relay.rules.new_rule import ODD_TEXT, STARTING_POINTS, NewRule, NotARule, add_rule
from relay.runtime.startup import read_rule_book, template_folders, template_names
from relay.services import in_thread
from relay.services.draft_check import Flaw, check_draft
from relay.services.publish_rules import (
    Changed,
    FileIsReadOnly,
    ForAdmins,
    NotPublished,
    NotUsable,
    NotWritten,
    Published,
)
from relay.transports.registry import TRANSPORTS

rules = Operations("Rules")


class RulesText(Struct, kw_only=True):
    """The rules file as saved on the disk."""

    text: str
    """The text; for viewers with asterisks in place of possible secrets."""
    hash: str
    """SHA-256 in hex of the file, which is also the ETag."""
    is_in_force: bool
    """Whether the relay uses this text."""
    problems: tuple[str, ...]
    """Why the file can't be used; the previous rules then stay in force."""
    read_only: str | None
    """Why the file can't be changed by the relay; null where it can."""


class RulesRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """A text of the rules file."""

    text: Annotated[str, Meta(max_length=1_000_000)]
    """The text of a rules file, in YAML."""


class PublishRequest(RulesRequest, kw_only=True, forbid_unknown_fields=True):
    """A text to replace the one whose hash If-Match names."""

    message: Annotated[str, Meta(max_length=300, description="What was changed, and why.")] = ""


class RulesCheck(Struct, kw_only=True):
    """The result of `relay check` for a text."""

    ok: bool
    """Whether the relay could use the text."""
    problems: list[FileProblem]
    """Errors and warnings in the text."""
    settings: tuple[str, ...]
    """Errors in the environment variables."""
    changes: list[Change] | None
    """The changes from the file's text; null where one of the two texts can't be used."""


class PublishedRules(Struct, kw_only=True):
    """The result of publishing a text."""

    hash: str
    """SHA-256 in hex of the file, which is also the ETag."""
    is_new: bool
    """Whether the file was changed; false where it had this text already."""
    is_in_force: bool
    """Whether the text is in force; if not, `/rules` has the problems."""
    overwritten: str | None
    """The hash of a text that somebody else saved at the same moment, and that is kept as a version; else null."""


class RuleSwitch(Struct, kw_only=True, forbid_unknown_fields=True):
    """A rule to turn on or off."""

    rule: Annotated[Line, Meta(description="Its name.")]
    on: Annotated[bool, Meta(description="false: it is turned off.")]


class NewRuleRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """A rule to add below the others, of one of the usual kinds."""

    kind: Annotated[
        Literal[tuple(STARTING_POINTS)],  # type: ignore[valid-type]
        Meta(description="Which chats it is about."),
    ]
    send_to: Annotated[tuple[Line, ...], Meta(description="The names of destinations.")]
    name: Annotated[Line, Meta(description="Its name; empty: the usual one of its kind.")] = ""
    value: Annotated[
        Line,
        Meta(
            description="The highest rating, the minutes to wait, or words with commas between them; empty: the usual value."
        ),
    ] = ""
    within: Annotated[
        Line, Meta(description="The schedule in whose hours the chat begins; empty: any time.")
    ] = ""
    outside: Annotated[
        Line, Meta(description="The schedule outside whose hours the chat begins.")
    ] = ""
    text: Annotated[str, Meta(max_length=1_000_000)] | None = None
    """The text of a rules file; left out or null: the file as it is saved."""


class TextWithRule(Struct, kw_only=True):
    """A text of the rules file with one more rule. Nothing was published."""

    text: str
    """The text with the rule, which can be checked, tried and published."""
    rule: str
    """The lines of the rule."""
    line: int
    """The line on which the rule begins, from 1."""


class RulesSchema(Struct, kw_only=True):
    """The JSON Schema of a rules file."""

    schema: dict[str, Any]
    """The schema, as `relay schema` prints it, with the names of this relay's templates."""


@rules.operation(HttpMethod.GET, "/rules", Role.VIEWER)
async def get_rules(call: Call) -> RulesText:
    """The rules file as saved on the disk, with its hash as the ETag."""
    file = await rules_file(call.running).read()
    is_in_force = file.hash == call.running.parts.in_force.rules.hash
    return RulesText(
        text=await readable_text(call, file.source, is_refused=not is_in_force),
        hash=file.hash,
        is_in_force=is_in_force,
        problems=() if is_in_force else tuple(call.running.parts.reload.problems),
        read_only=file.read_only.value if file.read_only else None,
    )


@rules.operation(HttpMethod.POST, "/rules/check", Role.EDITOR)
async def check_rules(call: Call, body: RulesRequest) -> RulesCheck:
    """Check a text as `relay check` does, without publishing it."""
    call.api.jobs.spare.prepare()  # for a trial on the past, which often follows
    path = call.running.ready.settings.rules
    file = rules_file(call.running)
    check = await check_draft(_source(body), path, call.running.variables, call.now)
    flaws = (*check.errors, *check.warnings)
    return RulesCheck(
        ok=not check.count,
        problems=[_problem(each.problem, each) for each in flaws],
        settings=check.checked.settings,
        changes=await file.changes((await file.read()).source, _source(body)),
    )


@rules.operation(HttpMethod.PUT, "/rules", Role.EDITOR, refusals=(409, 412, 428), if_match=True)
async def publish_rules(call: Call, body: PublishRequest) -> PublishedRules:
    """Publish a text in place of the one whose hash If-Match names."""
    file, author = rules_file(call.running), author_of(call.caller)
    base, source = call.if_match((await file.read()).hash), _source(body)
    try:
        published = await file.publish(source, base, author, body.message)
    except NotPublished as error:
        raise await _not_published(call, source, error) from None
    return await _published(call, published)


@rules.operation(
    HttpMethod.POST, "/rules/undo", Role.EDITOR, refusals=(409, 412, 428), if_match=True
)
async def undo_rules(call: Call) -> PublishedRules:
    """Restore the text that the one named by If-Match has replaced."""
    file = rules_file(call.running)
    current = (await file.read()).hash
    if call.if_match(current) != current:
        raise rules_changed()
    try:
        published = await file.undo(current, author_of(call.caller))
    except NotPublished as error:
        raise await _not_published(call, None, error) from None
    return await _published(call, published)


@rules.operation(
    HttpMethod.POST, "/rules/switch", Role.EDITOR, refusals=(409, 412, 428), if_match=True
)
async def switch_rule(call: Call, body: RuleSwitch) -> PublishedRules:
    """Turn a rule on or off in the text whose hash If-Match names: one line of the file changes."""
    file, author = rules_file(call.running), author_of(call.caller)
    base = call.if_match((await file.read()).hash)
    try:
        published = await file.switch(body.rule, on=body.on, base=base, author=author)
    except NotSpliced as error:
        raise wrong("rule", f"it can't be turned on or off from here: {error}") from None
    except NotPublished as error:
        raise await _not_published(call, None, error) from None
    return await _published(call, published)


def _new_rule(body: NewRuleRequest) -> NewRule:
    start = STARTING_POINTS[body.kind]
    return copied(NewRule, body, name=body.name or start.name, value=body.value or start.usual)


@rules.operation(HttpMethod.POST, "/rules/new", Role.EDITOR)
async def write_rule(call: Call, body: NewRuleRequest) -> TextWithRule:
    """Add a rule of a usual kind to a text of the rules file, without publishing it."""
    rule, meaning = _new_rule(body), STARTING_POINTS[body.kind].meaning
    text = (await rules_file(call.running).read()).source if body.text is None else _source(body)
    folders = template_folders(call.running.ready.settings)
    try:
        made = await in_thread(lambda _: add_rule(text, rule, meaning, template_names(folders)))
    except NotARule as error:
        raise wrong(error.field, str(error)) from None
    except NotSpliced:
        raise wrong("text", ODD_TEXT) from None
    return TextWithRule(
        text=made.decode("utf-8"),
        rule=text_of_rule(made, rule.name),
        line=line_of_rule(made, rule.name),
    )


@rules.operation(HttpMethod.GET, "/rules/schema", Role.EDITOR)
async def get_schema(call: Call) -> RulesSchema:
    """The JSON Schema of a rules file, with the templates that this relay has."""
    folders = template_folders(call.running.ready.settings)
    schema = await in_thread(lambda _: json_schema(TRANSPORTS, template_names(folders), LANGUAGES))
    return RulesSchema(schema=schema)


async def readable_text(call: Call, source: bytes, *, is_refused: bool) -> str:
    """A text of the rules file; for viewers with asterisks in place of possible secrets."""
    if call.caller.may(Role.EDITOR):
        return source.decode("utf-8", "replace")
    return await in_thread(lambda _: readable(source, is_refused=is_refused))


def _source(body: RulesRequest | NewRuleRequest) -> bytes:
    return (body.text or "").encode("utf-8", "replace")


def _problem(problem: Problem, flaw: Flaw | None = None) -> FileProblem:
    return FileProblem(
        severity=problem.severity.value,
        path=problem.path,
        line=problem.line or None,
        column=problem.column or None,
        what=problem.message,
        hint=problem.hint,
        fixes=tuple(copied(TextFix, each) for each in flaw.fixes) if flaw else (),
    )


async def _published(call: Call, published: Published) -> PublishedRules:
    await call.running.parts.reload.wait_until_read(published.hash)
    return PublishedRules(
        hash=published.hash,
        is_new=published.is_new,
        is_in_force=published.hash == call.running.parts.in_force.rules.hash,
        overwritten=published.overwritten or None,
    )


def rules_changed() -> Refusal:
    """The error for a file whose text is not the one that If-Match names."""
    words = "The file holds another text. Read it again, and put your change on top."
    return Refusal(412, words, kind="rules-changed")


async def _not_published(call: Call, source: bytes | None, error: NotPublished) -> Refusal:
    """Why a text was not published. `source`: the text; None where the call did not bring it."""
    match error:
        case Changed():
            return rules_changed()
        case ForAdmins():
            words = "Only an admin may change destinations, alerts_to and recipient_domains."
            return Refusal(403, words, kind="for-admins", problems=file_problems(error.problems))
        case FileIsReadOnly():
            words = f"The file can't be changed from here: {error.why.value}."
            return Refusal(409, words, kind="rules-read-only")
        case NotWritten():
            return Refusal(503, f"The disk did not take it: {error}.")
        case NotUsable():
            return await _unusable(call, source, error)
    return Refusal(409, "The file holds no text that took the place of another.")


async def usable_rules(call: Call, source: bytes) -> RuleBook:
    """The rules of a text. Raises Refusal with all its problems."""
    call.api.jobs.spare.prepare()  # for a trial on the past, which often follows
    settings = call.running.ready.settings
    try:
        return await in_thread(lambda _: read_rule_book(source, str(settings.rules), settings))
    except RulesError as error:
        words, problems = "The relay could not use these rules.", file_problems(error.problems)
        fields = {"text": f"{len(problems)} problems"}
        raise Refusal(422, words, kind="rules-unusable", fields=fields, problems=problems) from None


async def _unusable(call: Call, source: bytes | None, error: NotUsable) -> Refusal:
    path, words = call.running.ready.settings.rules, "The relay could not use these rules."
    problems: tuple[FileProblem, ...] = ()
    if source is not None:
        check = await check_draft(source, path, call.running.variables, call.now)
        problems = file_problems(each.problem for each in check.errors)
    if not problems:  # but of the environment, or of a text that the caller does not have
        words = "\n".join((words, *error.problems))
    return Refusal(422, words, kind="rules-unusable", problems=problems)


def file_problems(problems: Iterable[Problem]) -> tuple[FileProblem, ...]:
    """Problems of a rules file or test file as JSON."""
    return tuple(map(_problem, problems))
