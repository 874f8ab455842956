"""Posts hooks to a running relay, as Smartsupp would: for `relay post` and the demo."""

from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
from yarl import URL

from relay.text import clean_line
from relay.transports.http import NO_ANSWER, HttpClient, is_page, without_answer
from relay.transports.outcome import in_its_words

MAX_WORDS = 2_000
_HEADERS = {"Content-Type": "application/json"}
TAKEN = {200, 202}


@dataclass(frozen=True, slots=True)
class PostedHook:
    """What came of posting one hook."""

    status: int
    """0 where no answer came."""
    words: str
    """The relay's answer, which is JSON, or a sentence that says what is wrong; on one line."""
    deliveries: int | None = None
    """None where the hook was not taken."""


class _Taken(msgspec.Struct):
    chat: str
    deliveries: int


class _Refused(msgspec.Struct):
    error: str


async def post_hook(http: HttpClient, url: str, body: bytes) -> PostedHook:
    """Post it once. Never raises, and shows nothing of the URL but its host."""
    if objection := http.objection(url):
        return PostedHook(0, f"the hook's address {objection}")
    try:
        async with http.session(url).post(
            URL(url, encoded=True), data=body, headers=_HEADERS, ssl=http.tls
        ) as answer:
            status, text = answer.status, await answer.text()
    except NO_ANSWER as error:
        where = f"the relay at {urlsplit(url).hostname}"
        return PostedHook(0, without_answer(error, where).detail)
    return _understood(status, text, url)


def _understood(status: int, text: str, url: str) -> PostedHook:
    try:
        if status in TAKEN:
            taken = msgspec.json.decode(text, type=_Taken)
            return PostedHook(status, clean_line(text, MAX_WORDS), taken.deliveries)
        msgspec.json.decode(text, type=_Refused)
        return PostedHook(status, in_its_words(text, [url]))
    except (msgspec.MsgspecError, RecursionError):
        what = "a web page" if is_page(text) else in_its_words(text, [url]) or "nothing"
        return PostedHook(status, f"this is no answer of the relay: {what}")
