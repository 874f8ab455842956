"""Renders pages of the console from templates in the visitor's language, in threads; and declares their routes."""

import asyncio
import gettext
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, tzinfo
from functools import cache, partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date
from babel.numbers import format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import HttpMethod, Request, Response, route
from litestar.exceptions import ClientException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from relay.clock import Clock
from relay.console.delivery_states import ending_in_words
from relay.console.request_context import FORM_TOKEN, Caller, caller_of
from relay.console.static_files import StaticFiles
from relay.console.translated_explanations import finding_in_words, translated
from relay.demo import Demo
from relay.languages import LANGUAGES, SOURCE, Language
from relay.languages.catalogue import read_catalogue
from relay.languages.tags import base_of, own_name_of
from relay.outbox.user_accounts import Role
from relay.outbox.user_choices import Choices
from relay.rendering.transcript import local_time
from relay.rendering.translation import words_in

FOLDER = Path(__file__).parent / "pages"
CATALOGUES = Path(__file__).parent / "translations"
MOST_LANGUAGES = 20
"""How many languages of an Accept-Language header are looked at."""
THREADS = 1
"""How many pages are rendered at the same time: two would only compete with each other, and with hooks."""
_HTML = "text/html"
Page = Response[bytes]
AnyRequest = Request[Any, Any, Any]
Number = FromPath[int]
"""The parameter `number` of a path."""
Text = FromPath[str]
"""A parameter of a path that is text."""
READ = [HttpMethod.GET, HttpMethod.HEAD]
Answer = Callable[..., Awaitable[Page]]
"""Answers a request; gets it, and the parameters of the route's path by name."""


def page_route(
    path: str, role: Role | None, answer: Answer, *, needs_no_database: bool = False
) -> HTTPRouteHandler:
    """The route of a page, for GET and HEAD. `role`: the least that may see it; None: anybody."""
    opt = {"role": role, "needs_no_database": needs_no_database}
    return route(path, http_method=READ, opt=opt)(answer)


def form_route(path: str, role: Role | None, answer: Answer) -> HTTPRouteHandler:
    """The route of a form, for POST. `role`: the least that may send it; None: anybody."""
    return route(path, http_method=HttpMethod.POST, opt={"role": role})(answer)


def redirect(place: str, **headers: str) -> Page:
    """A redirect (303) to `place`, which the browser requests by GET."""
    return Response(b"", status_code=303, headers={"location": place, **headers})


class FormRefused(ClientException):
    """Raised where a form asks for something that can't be done. The answer says why; nothing was changed."""

    status_code = 422

    def __init__(self, words: str, **values: str) -> None:
        """`words`: a message of the console's catalogue; `values` for its placeholders."""
        super().__init__(words)
        self.words, self.values = words, values


def number_in(request: AnyRequest, name: str) -> int | None:
    """A number in the query; None where it is missing. Raises ClientException for anything else."""
    text = request.query_params.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ClientException
    return int(text)


class Hold(Struct, frozen=True):
    """Something that is held back at present: a mute, or a paused destination."""

    is_pause: bool
    rule: str
    """The name of the rule; empty for any rule, or where a condition decides."""
    destination: str
    by: str
    until: datetime | None
    because: str


class Status(Struct, frozen=True):
    """The state of the relay in the head of each page, as far as it is known without the database."""

    troubles: int
    """How many problems there are."""
    rules_problem: str
    """The first problem of a saved rules file that can't be used; empty for none."""
    holds: tuple[Hold, ...] = ()


class Setting(Struct, frozen=True):
    """The language and time zone of the rules in force."""

    language: str
    zone: ZoneInfo


class Pages:
    """All templates of pages, ready to be rendered."""

    def __init__(
        self,
        files: StaticFiles,
        *,
        clock: Clock,
        status: Callable[[], Status],
        setting: Callable[[], Setting],
        give_way: Callable[[], None],
        demo: Demo | None = None,
    ) -> None:
        """`demo`: the demo to which the console belongs, if any. `give_way`: see `Precedence`."""
        self._threads, self._give_way = ThreadPoolExecutor(THREADS, "console-page"), give_way
        self._clock, self._status, self._setting = clock, status, setting
        self._templates = _environment()
        names = {"static": files.path, "Role": Role, "FORM_TOKEN": FORM_TOKEN, "demo": demo}
        self._templates.globals |= names

    def close(self) -> None:
        """End the threads that render pages."""
        self._threads.shutdown()

    def language(self, request: AnyRequest) -> Language:
        """The language of the page for this request."""
        caller = caller_of(request.scope)
        chosen = _choices(caller).language
        return (
            language_called(chosen)
            if chosen
            else language_for(caller.languages, self._setting().language)
        )

    def zone(self, request: AnyRequest) -> ZoneInfo:
        """The time zone of the page for this request: the user's own, or that of the rules."""
        chosen = _choices(caller_of(request.scope)).zone
        return ZoneInfo(chosen) if chosen else self._setting().zone

    async def show(
        self,
        request: AnyRequest,
        template: str,
        /,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: object,
    ) -> Page:
        """A template of the folder `pages`, rendered for this request in a thread."""
        render = partial(self.show_at_once, request, template, status=status, headers=headers)
        render = partial(render, between_pieces=self._give_way, **values)
        return await asyncio.get_running_loop().run_in_executor(self._threads, render)

    def show_at_once(
        self,
        request: AnyRequest,
        template: str,
        /,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        between_pieces: Callable[[], None] = lambda: None,
        **values: object,
    ) -> Page:
        """A template rendered for this request in the calling thread, for parts of a few lines."""
        pieces = list[str]()
        for piece in self._templates.get_template(template).generate(self._names(request) | values):
            pieces.append(piece)
            between_pieces()
        return Response(
            "".join(pieces).encode("utf-8", "replace"),
            status_code=status,
            media_type=_HTML,
            headers=dict(headers or {}),
        )

    def _names(self, request: AnyRequest) -> dict[str, Any]:
        """The values and functions that every template may use."""
        caller, language = caller_of(request.scope), self.language(request)
        return {
            **Moments(language, self.zone(request), self._clock()).names(),
            "choices": _choices(caller),
            "ending_in_words": partial(ending_in_words, language=language),
            "translated": partial(translated, language=language),
            "finding_in_words": partial(finding_in_words, language=language),
            "zone_of_rules": str(self._setting().zone),
            "_": language.gettext,
            "ngettext": language.ngettext,
            "language": language.name,
            "client": caller,  # Jinja has a "caller" of its own in macros
            "user": caller.session.user if caller.session else None,
            "path": request.scope["path"],
            "query": request.scope["query_string"].decode("latin-1"),
            "status": self._status(),
        }


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _choices(caller: Caller) -> Choices:
    return caller.session.user.choices if caller.session else Choices()


_YEAR = re.compile(r"(?: '[^']*')?,? y$")
"""The year at the end of a language's date pattern, with the text before it."""


class Moments:
    """Functions for templates that format times and amounts in one language and time zone."""

    def __init__(self, language: Language, zone: tzinfo, now: datetime) -> None:
        self._locale, self._zone, self._now = language.locale, zone, now.astimezone(zone)
        self._language, self._words = language, words_in(language.name)

    def names(self) -> dict[str, Any]:
        """The functions by their names in templates."""
        return {
            "now": self._now,
            "zone": str(self._zone),
            "language_name": own_name_of,
            "day_of": self.day_of,
            "day_name": self.day_name,
            "clock_time": lambda at: self._words.clock(local_time(at, self._zone)),
            "moment": lambda at: self._words.moment(local_time(at, self._zone), self._now),
            "duration": self._words.duration,
            "file_size": self.file_size,
            "country": self._words.country,
            "rated": self._words.rating,
        }

    def file_size(self, size: int) -> str:
        """A number of bytes as text, such as `41.2 GB`."""
        power = 3 if size >= 10**9 else 2
        number = format_decimal(size / 1000**power, "#,##0.0", self._locale)
        return f"{number} {'GB' if power == 3 else 'MB'}"

    def day_of(self, at: datetime) -> date:
        """The date of a time, in the page's time zone."""
        return local_time(at, self._zone).date()

    def day_name(self, day: date) -> str:
        """A date such as `Saturday 28 November`, with `Today` or `Yesterday` where that applies."""
        full = str(self._locale.date_formats["full"]).replace("EEEE, d MMMM", "EEEE d MMMM")
        wide = _YEAR.sub("", full) if day.year == self._now.year else full
        name = str(format_date(day, wide, self._locale))
        match (self._now.date() - day).days:
            case 0:
                return self._language.gettext("Today, {day}", day=name)
            case 1:
                return self._language.gettext("Yesterday, {day}", day=name)
        return name


def language_for(accepted: str, usual: str) -> Language:
    """The first available language in `accepted`, an Accept-Language header; else `usual`."""
    wanted = [(_weight(each), each.partition(";")[0].strip()) for each in accepted.split(",")]
    by_weight = sorted(wanted[:MOST_LANGUAGES], key=lambda each: -each[0])
    for tag in (*(tag for weight, tag in by_weight if weight > 0), usual):
        for name in LANGUAGES:
            if name.casefold() in {tag.casefold(), base_of(tag.casefold())}:
                return language_called(name)
    return language_called(SOURCE)


def _weight(entry: str) -> float:
    for parameter in entry.split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


@cache
def language_called(name: str) -> Language:
    """The console's catalogue of a language; `name` is one of LANGUAGES. Cached."""
    path = CATALOGUES / f"{name}.po"
    if name == SOURCE or not path.exists():
        return Language(name, gettext.NullTranslations())
    return Language(name, read_catalogue(path, name).translations())
