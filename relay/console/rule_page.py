"""One rule: its text, what it told lately, and the chats that it nearly matched."""

from typing import Any

from litestar import Request, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from relay.console.chat_list_page import chat_line
from relay.console.page import READ, AnyRequest, Page, Pages
from relay.console.rules_words import rules_file
from relay.outbox.past_chats import WantedChats
from relay.outbox.people import Role
from relay.rules.differences import words_of
from relay.rules.splicing import text_of_rule
from relay.services import in_thread
from relay.services.find_chats import list_chats
from relay.services.rule_counts import near_misses
from relay.web.app import Running

FEW = 10
"""Chats of each kind."""
_Name = FromPath[str]


class RulePage:
    """`/rules/NAME`."""

    def __init__(self, running: Running, pages: Pages) -> None:
        self._running, self._pages = running, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """The route handlers."""

        @route("/rules/{name:str}", http_method=READ, opt={"role": Role.VIEWER})
        async def one(request: Request[Any, Any, Any], name: _Name) -> Page:
            return await self._show(request, name)

        return [one]

    async def _show(self, request: AnyRequest, name: str) -> Page:
        parts, file = self._running.parts, rules_file(self._running)
        book, sessions = parts.in_force.rules, parts.outbox.sessions
        rule = next((each for each in book.rules if each.name == name), None)
        found = await list_chats(sessions, "", WantedChats(rule=name), before=None, limit=FEW)
        if rule is None and not found.chats:
            raise NotFoundException
        language = self._pages.language(request)
        kept = await file.history.version(book.hash)
        source = kept[1] if kept else b""
        return await self._pages.show(
            request,
            "rule.html",
            nav="rules",
            name=name,
            rule=rule,
            conditions=words_of(rule) if rule else (),
            text=await in_thread(lambda _: text_of_rule(source, name)) if rule else "",
            chats=[chat_line(each, language) for each in found.chats],
            more=found.before is not None,
            near=await near_misses(sessions, name, most=FEW) if rule else [],
            hash=book.hash,
        )
