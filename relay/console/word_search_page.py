"""The page that searches what was said: hooks are read in a process of its own, and results are shown as they come.

The words are not stored anywhere.
"""

from collections.abc import Mapping
from typing import Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from relay.console.chat_list_page import LONGEST_FILTER, by_day, chat_lines
from relay.console.jobs import Job, Jobs, Work
from relay.console.page import AnyRequest, FormRefused, Pages, form_route, redirect
from relay.console.request_context import visit_of
from relay.languages import N_
from relay.outbox.past_chats import WantedChats
from relay.outbox.people import Role
from relay.services.child_process import in_child
from relay.services.find_chats import FoundChat, list_chats
from relay.services.search_words import MOST_FOUND, WordSearch, WordsFound, search_words
from relay.web.app import Running

KIND = "words"


class WordPage:
    """`/chats/words`, which begins a job."""

    def __init__(self, running: Running, pages: Pages, jobs: Jobs) -> None:
        self._running, self._pages, self._jobs = running, pages, jobs

    def routes(self) -> list[HTTPRouteHandler]:
        return [
            # By POST: an address would put the words into logs and histories.
            form_route("/chats/words", Role.VIEWER, self._begin),
        ]

    async def _begin(self, request: AnyRequest) -> Response[bytes]:
        visit = visit_of(request.scope)
        words = visit.form.get("words", "").strip()[:LONGEST_FILTER]
        if not words:
            raise FormRefused(N_("Write the words to look for."))
        work = word_search(self._running, words)

        async def look_up(request: AnyRequest) -> Mapping[str, object]:
            return {"days": await self._days(request, job.value), "most": MOST_FOUND}

        job = self._jobs.start(visit, KIND, work, back="/chats", alone=True, look_up=look_up)
        return redirect(f"/jobs/{job.id}")

    async def _days(self, request: AnyRequest, found: WordsFound | None) -> list[Any]:
        """The chats that still exist, grouped by day in the page's time zone."""
        chats = await chats_with_words(self._running, found)
        lines = await chat_lines(chats, self._pages.language(request))
        return by_day(lines, self._pages.zone(request))


def word_search(running: Running, words: str) -> Work:
    """The work of a job that searches what was said; its value are the chats found so far."""
    search = [WordSearch(database=running.ready.settings.database, words=words)]

    async def work(job: Job) -> WordsFound:
        def report(found: WordsFound) -> None:
            job.value = found

        return await in_child(
            search_words,
            search.pop(),  # the job outlives its work
            answers=WordsFound,
            report=report,
            progress=job.progress,
        )

    return work


async def chats_with_words(running: Running, found: WordsFound | None) -> list[FoundChat]:
    """The chats that a search has found and that still exist, newest first."""
    if not found or not found.chats:
        return []
    sessions, wanted = running.parts.outbox.sessions, WantedChats(names=found.chats)
    return (await list_chats(sessions, "", wanted, before=None, limit=MOST_FOUND)).chats
