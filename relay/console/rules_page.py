"""The pages of the rules: the list of all rules with switches and undo, the page of one rule, and the versions of the file."""

from collections.abc import Mapping
from datetime import timedelta

from litestar import Response
from litestar.exceptions import ClientException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from relay.console.chat_list_page import chat_lines
from relay.console.file_access import (
    readable,
    request_author,
    rules_file,
    why_rules_are_read_only,
)
from relay.console.page import AnyRequest, Page, Pages, form_route, page_route, redirect
from relay.console.request_context import caller_of
from relay.languages import N_
from relay.outbox.past_chats import WantedChats
from relay.outbox.rules_versions import NEWEST, Version
from relay.outbox.user_accounts import Role
from relay.rules.compare_rules import words_of
from relay.rules.line_edits import NotSpliced, text_of_rule
from relay.rules.rule_book import Rule, RuleBook
from relay.services import in_thread
from relay.services.find_chats import list_chats
from relay.services.publish_rules import (
    Changed,
    ForAdmins,
    NothingToUndo,
    NotPublished,
    NotUsable,
    NotWritten,
    RulesFile,
)
from relay.services.recent_counts import RuleCount, near_misses, rule_counts
from relay.services.text_diff import compared, to_text
from relay.web.app import Running

COUNTED = timedelta(days=30)
FEW = 10
"""How many chats of each kind the page of one rule shows."""
NOT_DONE = {
    "changed": N_(
        "Not changed: somebody else has saved the file meanwhile. Look at it and try again."
    ),
    "admins": N_(
        "Not changed: this would change destinations, alerts_to or recipient_domains, which only an admin may."
    ),
    "unusable": N_("Not changed: the relay could not use these rules."),
    "nothing": N_("There is nothing to undo: the file was changed meanwhile."),
    "odd": N_(
        "Not changed: the rule is written in a way that the switch does not know. Edit the text."
    ),
    "disk": N_("Not saved: the disk did not take it."),
    "refused": N_("Not changed: the file can't be changed from here."),
}


class RuleCard(Struct, frozen=True):
    """A rule as people read it."""

    rule: Rule
    conditions: tuple[str, ...]
    """The conditions in words; nested ones are indented by two spaces for each level."""
    count: RuleCount | None


class RulesPage:
    """All rules: `/rules`, with the switch of each and undo."""

    def __init__(self, running: Running, pages: Pages) -> None:
        self._running, self._pages = running, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/rules", Role.VIEWER, self._show),
            form_route("/rules/switch", Role.EDITOR, self._switch),
            form_route("/rules/undo", Role.EDITOR, self._undo),
        ]

    async def _undo(self, request: AnyRequest) -> Response[bytes]:
        base = caller_of(request.scope).form.get("base", "")
        if not base:
            raise ClientException
        try:
            done = await self._file.undo(base, request_author(request))
        except NotPublished as error:
            return _not_done(error)
        return await self._in_force(done.hash, "undo")

    @property
    def _file(self) -> RulesFile:
        return rules_file(self._running)

    async def _show(self, request: AnyRequest) -> Page:
        parts, file = self._running.parts, await self._file.read()
        book, history = parts.in_force.rules, self._file.history
        counts = await rule_counts(parts.outbox.sessions, self._running.clock() - COUNTED)
        language, query = self._pages.language(request), request.query_params
        return await self._pages.show(
            request,
            "rules.html",
            nav="rules",
            cards=await in_thread(lambda _: _cards(book, counts)),
            file=file,
            in_force=_about(await history.version(book.hash)),
            is_in_force=file.hash == book.hash,
            problems=parts.reload.problems,
            previous=_about(await history.previous(file.hash)),
            drafts=await history.drafts(),
            why_not=why_rules_are_read_only(self._running, file.read_only, language),
            done=query.get("done", ""),
            beside=_about(await history.version(query.get("beside", ""))),
            not_done=NOT_DONE.get(query.get("not", ""), ""),
        )

    async def _switch(self, request: AnyRequest) -> Response[bytes]:
        form = caller_of(request.scope).form
        rule, on, base = form.get("rule", ""), form.get("on", ""), form.get("base", "")
        if on not in {"yes", "no"} or not base or not rule:
            raise ClientException
        author = request_author(request)
        try:
            done = await self._file.switch(rule, on=on == "yes", base=base, author=author)
        except NotSpliced:
            return redirect("/rules?not=odd")
        except NotPublished as error:
            return _not_done(error)
        return await self._in_force(done.hash, "switch")

    async def _in_force(self, hash_: str, done: str) -> Response[bytes]:
        await self._running.parts.reload.wait_until_read(hash_)
        return redirect(f"/rules?done={done}")


def _cards(book: RuleBook, counts: Mapping[str, RuleCount]) -> list[RuleCard]:
    return [RuleCard(rule, words_of(rule), counts.get(rule.name)) for rule in book.rules]


def _about(version: tuple[Version, bytes] | None) -> Version | None:
    return version[0] if version else None


def _not_done(error: NotPublished) -> Response[bytes]:
    match error:
        case Changed():
            why = "changed"
        case ForAdmins():
            why = "admins"
        case NotUsable():
            why = "unusable"
        case NothingToUndo():
            why = "nothing"
        case NotWritten():
            why = "disk"
        case _:
            why = "refused"
    return redirect(f"/rules?not={why}")


class RulePage:
    """One rule: `/rule?name=NAME`. The name is not in the path, as names such as `edit` and `a/b` would be other pages."""

    def __init__(self, running: Running, pages: Pages) -> None:
        self._running, self._pages = running, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/rule", Role.VIEWER, self._show),
        ]

    async def _show(self, request: AnyRequest) -> Page:
        book, sessions = self._running.parts.in_force.rules, self._running.parts.outbox.sessions
        name = request.query_params.get("name", "")
        rule = next((each for each in book.rules if each.name == name), None)
        chat_list = await list_chats(sessions, "", WantedChats(rule=name), before=None, limit=FEW)
        if rule is None and not chat_list.chats:
            raise NotFoundException
        kept = await rules_file(self._running).history.version(book.hash)
        source = kept[1] if kept else b""
        return await self._pages.show(
            request,
            "rule.html",
            nav="rules",
            name=name,
            rule=rule,
            conditions=words_of(rule) if rule else (),
            text=await in_thread(lambda _: text_of_rule(source, name)) if rule else "",
            chats=await chat_lines(chat_list.chats, self._pages.language(request)),
            more=chat_list.before is not None,
            near=await near_misses(sessions, name) if rule else [],
            hash=book.hash,
        )


ON_A_PAGE = 30
_Hash = FromPath[str]


class RulesVersionPages:
    """`/rules/versions` and the page of each version."""

    def __init__(self, running: Running, pages: Pages) -> None:
        self._running, self._pages = running, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/rules/versions", Role.VIEWER, self._versions),
            page_route("/rules/versions/{version:str}", Role.VIEWER, self._show),
            form_route("/rules/versions/{version:str}/restore", Role.EDITOR, self._restore),
        ]

    async def _versions(self, request: AnyRequest) -> Page:
        before = request.query_params.get("before", "")
        is_number = before.isascii() and before.isdigit() and len(before) < 19
        versions = await rules_file(self._running).history.versions(
            int(before) if is_number else NEWEST, ON_A_PAGE + 1
        )
        return await self._pages.show(
            request,
            "rules_versions.html",
            nav="rules",
            versions=versions[:ON_A_PAGE],
            older=versions[ON_A_PAGE - 1].id if len(versions) > ON_A_PAGE else 0,
            in_force=await self._in_force(),
        )

    async def _restore(self, request: AnyRequest, version: _Hash) -> Response[bytes]:
        file = rules_file(self._running)
        _, source = await self._find(version)
        current = await file.read()
        await file.history.keep_draft(request_author(request).user, current.hash, to_text(source))
        return redirect("/rules/edit")

    async def _in_force(self) -> int:
        """The number of the version that is in force; 0 where it is not stored."""
        hash_ = self._running.parts.in_force.rules.hash
        version = await rules_file(self._running).history.version(hash_)
        return version[0].id if version else 0

    async def _find(self, hash_: str) -> tuple[Version, bytes]:
        version = await rules_file(self._running).history.version(hash_)
        if version is None:
            raise NotFoundException
        return version

    async def _show(self, request: AnyRequest, version: _Hash) -> Page:
        about, source = await self._find(version)
        against = request.query_params.get("against", "") or about.base_hash
        history = rules_file(self._running).history
        base = await history.version(against) if against else None
        old = base[1] if base else b""
        text = await in_thread(lambda _: _readable(about, source))
        diff = await in_thread(lambda _: compared(_readable(base[0], old), text) if base else [])
        return await self._pages.show(
            request,
            "rules_version.html",
            nav="rules",
            version=about,
            base=_about(base),
            in_force=self._running.parts.in_force.rules.hash,
            diff=diff,
            changes=await rules_file(self._running).changes(old, source) if base else [],
            text=text,
        )


def _readable(version: Version, source: bytes) -> str:
    return readable(source, is_refused=bool(version.problems))
