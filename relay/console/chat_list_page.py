"""The first page of the console: today's numbers, and all chats, filtered, and searched by names and by what was said."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from litestar import Response
from litestar.exceptions import ClientException
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from relay.console.delivery_states import OutcomeWords, outcomes_of
from relay.console.health_page import hook_url
from relay.console.jobs import Job, Jobs, Work
from relay.console.page import (
    AnyRequest,
    FormRefused,
    Page,
    Pages,
    form_route,
    number_in,
    page_route,
    redirect,
)
from relay.console.request_context import caller_of
from relay.languages import N_, Language
from relay.outbox.chat_list import number_of_chat
from relay.outbox.past_chats import WantedChats
from relay.outbox.user_accounts import Role
from relay.services import in_thread
from relay.services.child_process import in_child
from relay.services.find_chats import LOOKED_AT, StoredChat, count_chats, count_newer, list_chats
from relay.services.search_transcripts import (
    MOST_HITS,
    FoundWords,
    WordHits,
    WordSearch,
    search_words,
    words_of_hit,
)
from relay.text import cut
from relay.web.app import Running

CHATS_ON_A_PAGE = 50
MOST_WORDS = 140
LONGEST_FILTER = 200
WORD_SEARCH = "words"
"""The kind of jobs that search what was said."""
FILTERS = ("q", "kind", "told", "rule", "to", "rating")


class ChatLine(Struct, frozen=True):
    """A chat in the list."""

    id: int
    name: str
    visitor: str
    came: datetime
    missed: bool
    offline: bool
    rating: float | None
    question: str
    trouble: str
    rules: list[str]
    """The names of the rules that matched the chat."""
    outcomes: list[OutcomeWords]


class Option(Struct, frozen=True):
    """One value of a filter."""

    value: str
    words: str


class Field(Struct, frozen=True):
    """A filter above the list of chats, with its possible values."""

    name: str
    label: str
    options: list[Option]


class Chip(Struct, frozen=True):
    """A filter in use, and the address of the page without it."""

    words: str
    without: str


class ChatListPage:
    """`/chats`, and the part that polls for new chats."""

    def __init__(self, running: Running, pages: Pages) -> None:
        self._running, self._pages = running, pages

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            page_route("/chats", Role.VIEWER, self._chats),
            page_route("/chats/new", Role.VIEWER, self._new_chats),
        ]

    async def _new_chats(self, request: AnyRequest) -> Response[bytes]:
        after = number_in(request, "after") or 0
        count = await count_newer(self._running.parts.outbox.sessions, after)
        if not count:
            return Response(b"", status_code=204)
        return await self._pages.show(request, "chats_new.html", count=count)

    async def _chats(self, request: AnyRequest) -> Response[bytes]:
        filters = {name: request.query_params.get(name, "")[:LONGEST_FILTER] for name in FILTERS}
        number = await self._number(filters["q"])
        return redirect(f"/chats/{number}") if number else await self._list(request, filters)

    async def _list(self, request: AnyRequest, filters: Mapping[str, str]) -> Page:
        sessions, before = self._running.parts.outbox.sessions, number_in(request, "before")
        zone, language = self._pages.zone(request), self._pages.language(request)
        # Counted before they are read, so that a chat that comes in between is announced as a new one.
        today = await count_chats(sessions, _midnight(self._running.clock().astimezone(zone)))
        chat_list = await list_chats(
            sessions, filters["q"], wanted(filters), before=before, limit=CHATS_ON_A_PAGE
        )
        return await self._pages.show(
            request,
            "chats.html",
            nav="chats",
            today=today,
            filters=filters,
            fields=self._fields(language),
            chips=self._chips(filters, language),
            days=by_day(await chat_lines(chat_list.chats, language), zone),
            is_first=before is None,
            is_cut=chat_list.is_cut,
            looked_at=LOOKED_AT,
            hook_url=hook_url(self._running, request.headers["host"], "…"),
            older=_place({**filters, "before": str(chat_list.before)}) if chat_list.before else "",
        )

    async def _number(self, text: str) -> int | None:
        """The number of the chat whose account and id were typed; None for any other text."""
        account, slash, chat = text.strip().partition("/")
        if not slash:
            return None
        name = (account, chat)
        return await self._running.parts.outbox.read(lambda read: number_of_chat(read, name))

    def _fields(self, language: Language) -> list[Field]:
        _, rules = language.gettext, self._running.parts.in_force.rules
        kinds = [Option("missed", _("Missed")), Option("offline", _("Offline"))]
        sent_to = [
            Option("nobody", _("Sent to nobody")),
            Option("failed", _("A delivery failed")),
            Option("waiting", _("A delivery waits")),
        ]
        ratings = [Option(str(most), _("{most} or lower", most=most)) for most in (1, 2, 3)]
        return [
            Field("kind", _("Kind"), kinds),
            Field("told", _("Sent to"), sent_to),
            Field("rule", _("Rule"), [Option(each.name, each.name) for each in rules.rules]),
            Field("to", _("Destination"), [Option(each, each) for each in rules.destinations]),
            Field("rating", _("Rating"), ratings),
        ]

    def _chips(self, filters: Mapping[str, str], language: Language) -> list[Chip]:
        labels = {field.name: field for field in self._fields(language)}
        chips = []
        for name, value in filters.items():
            if not value:
                continue
            field = labels.get(name)
            options = {each.value: each.words for each in field.options} if field else {}
            label = field.label if field else language.gettext("Search")
            words = f"{label}: {options.get(value, value)}"
            chips.append(Chip(words, _place({**filters, name: ""})))
        return chips


def wanted(filters: Mapping[str, str]) -> WantedChats:
    """The filters of a page. Raises ClientException for an invalid value."""
    kinds, states = {"", "missed", "offline"}, {"", "nobody", "failed", "waiting"}
    rating = filters["rating"]
    is_rating = rating.isascii() and rating.isdigit() and int(rating) <= 5
    if filters["kind"] not in kinds or filters["told"] not in states or (rating and not is_rating):
        raise ClientException
    return WantedChats(
        missed=filters["kind"] == "missed",
        offline=filters["kind"] == "offline",
        undelivered=filters["told"] == "nobody",
        failed=filters["told"] == "failed",
        waiting=filters["told"] == "waiting",
        rule=filters["rule"],
        destination=filters["to"],
        rated_at_most=float(rating) if rating else None,
    )


def chat_line(chat: StoredChat, language: Language) -> ChatLine:
    """A chat as the list shows it."""
    about = chat.chat.about
    return ChatLine(
        about.id,
        chat.name,
        about.visitor,
        about.first_hook,
        about.missed,
        about.offline,
        about.rating,
        cut(" ".join(chat.question.split()), MOST_WORDS),
        chat.trouble,
        list(chat.rules),
        outcomes_of(chat.chat.deliveries, language),
    )


async def chat_lines(chats: Sequence[StoredChat], language: Language) -> list[ChatLine]:
    """Chats as the list shows them, read in a thread: fifty take several milliseconds, for which hooks would wait."""
    return await in_thread(lambda _: [chat_line(chat, language) for chat in chats])


def by_day(lines: Iterable[ChatLine], zone: Any) -> list[tuple[date, list[ChatLine]]]:  # noqa: ANN401 - any tzinfo
    """The chats grouped by day, in unchanged order."""
    days = groupby(lines, lambda line: line.came.astimezone(zone).date())
    return [(day, list(some)) for day, some in days]


def _place(filters: Mapping[str, str]) -> str:
    query = urlencode({name: value for name, value in filters.items() if value})
    return f"/chats?{query}" if query else "/chats"


class WordPage:
    """`/chats/words`, which begins a job."""

    def __init__(self, running: Running, pages: Pages, jobs: Jobs) -> None:
        self._running, self._pages, self._jobs = running, pages, jobs

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes of these pages and forms."""
        return [
            # By POST: an address would put the words into logs and histories.
            form_route("/chats/words", Role.VIEWER, self._begin),
        ]

    async def _begin(self, request: AnyRequest) -> Response[bytes]:
        caller = caller_of(request.scope)
        words = caller.form.get("words", "").strip()[:LONGEST_FILTER]
        if not words:
            raise FormRefused(N_("Write the words to look for."))
        work = word_search(self._running, words)

        async def look_up(request: AnyRequest) -> Mapping[str, object]:
            chats = await chats_with_words(self._running, job.value)
            lines = await chat_lines([each for each, _ in chats], self._pages.language(request))
            days = by_day(lines, self._pages.zone(request))
            words_by_chat = {each.chat.about.id: words for each, words in chats}
            return {"days": days, "words_by_chat": words_by_chat, "most": MOST_HITS}

        job = self._jobs.start(
            caller, WORD_SEARCH, work, back="/chats", alone=True, look_up=look_up
        )
        return redirect(f"/jobs/{job.id}")


def _midnight(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def word_search(running: Running, words: str) -> Work:
    """The work of a job that searches what was said; its value is the list of chats found so far."""
    search = [WordSearch(database=running.ready.settings.database, words=words)]

    async def work(job: Job) -> WordHits:
        return await in_child(
            search_words,
            search.pop(),  # the job outlives its work
            answers=WordHits,
            report=job.report,
            progress=job.progress,
        )

    return work


async def chats_with_words(
    running: Running, matches: WordHits | None
) -> list[tuple[StoredChat, FoundWords | None]]:
    """The chats that a search has found and that still exist, newest first, each with the words that were found."""
    if not matches or not matches.chats:
        return []
    hits = {(each.account, each.chat): each for each in matches.chats}
    sessions, wanted = running.parts.outbox.sessions, WantedChats(names=[*hits])
    listed = await list_chats(sessions, "", wanted, before=None, limit=MOST_HITS)
    return await in_thread(
        lambda _: [(each, words_of_hit(each, hits[each.chat.about.name])) for each in listed.chats]
    )
