"""The page that writes a new rule into the user's draft of the rules file: `/rules/new`."""

from collections.abc import Mapping
from urllib.parse import quote

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from relay.console.file_access import request_author, rules_file
from relay.console.page import AnyRequest, Page, Pages, form_route, page_route, redirect
from relay.console.request_context import caller_of
from relay.languages import Language
from relay.outbox.user_accounts import Role
from relay.rules.line_edits import NotSpliced, names_in
from relay.rules.new_rule import LONGEST, ODD_TEXT, STARTING_POINTS, NewRule, NotARule, add_rule
from relay.runtime.startup import template_folders, template_names
from relay.services import in_thread
from relay.services.text_diff import to_text
from relay.web.app import Running


class NewRulePage:
    """A form for the usual kinds of rules. What it writes is a draft, which is tried and published in the editor."""

    def __init__(self, running: Running, pages: Pages) -> None:
        self._running, self._pages = running, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/rules/new", Role.EDITOR, self._new),
            form_route("/rules/new", Role.EDITOR, self._add),
        ]

    async def _new(self, request: AnyRequest) -> Page:
        text, _ = await self._text(request)
        return await self._show(request, text, {})

    async def _text(self, request: AnyRequest) -> tuple[bytes, str]:
        """The user's draft or else the file's text, and the hash of the text that was edited."""
        file = rules_file(self._running)
        now, own = await file.read(), request_author(request).name
        for draft in await file.history.drafts():
            if draft.user == own:
                return draft.text.encode(), draft.base_hash
        return to_text(now.source).encode(), now.hash

    async def _add(self, request: AnyRequest) -> Response[bytes]:
        form = caller_of(request.scope).form
        text, base = await self._text(request)
        language = self._pages.language(request)
        rule = _rule_of_form(form, language)
        meaning = language.gettext(STARTING_POINTS[rule.kind].meaning)
        try:
            added = await self._added(text, rule, meaning)
        except NotARule as error:
            refused = language.gettext(error.words, **error.values)
            return await self._show(request, text, form, error.field, refused)
        except NotSpliced:
            return await self._show(request, text, form)
        await rules_file(self._running).history.keep_draft(
            request_author(request).user, base, added.decode()
        )
        return redirect(f"/rules/edit?done=new&rule={quote(rule.name, safe='')}")

    async def _added(self, text: bytes, rule: NewRule, comment: str) -> bytes:
        folders = template_folders(self._running.ready.settings)
        return await in_thread(lambda _: add_rule(text, rule, comment, template_names(folders)))

    async def _show(
        self,
        request: AnyRequest,
        text: bytes,
        form: Mapping[str, str],
        field: str = "",
        refused: str = "",
    ) -> Page:
        """The form. `form`: its values; `field` and `refused`: which one was refused, and why."""
        try:
            destinations, schedules = await in_thread(
                lambda _: (names_in(text, "destinations"), names_in(text, "schedules"))
            )
        except NotSpliced:
            destinations, schedules, field = [], [], "text"
            refused = self._pages.language(request).gettext(ODD_TEXT)
        return await self._pages.show(
            request,
            "rule_new.html",
            status=422 if form and refused else 200,
            nav="rules",
            points=STARTING_POINTS,
            destinations=destinations,
            schedules=schedules,
            form=form,
            field=field,
            refused=refused,
            longest=LONGEST,
        )


def _rule_of_form(form: Mapping[str, str], language: Language) -> NewRule:
    kind = form.get("kind", "")
    kind = kind if kind in STARTING_POINTS else next(iter(STARTING_POINTS))
    which, _, schedule = form.get("when", "").partition(":")
    return NewRule(
        kind=kind,
        name=form.get("name", "").strip() or language.gettext(STARTING_POINTS[kind].name),
        send_to=tuple(name.removeprefix("to:") for name in form if name.startswith("to:")),
        value=form.get(f"value-{kind}", ""),
        within=schedule if which == "within" else "",
        outside=schedule if which == "outside" else "",
    )
