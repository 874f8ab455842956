"""Values and text as HTML. A mail has some two hundred of them, so it is done without a detour."""

import re
from collections.abc import Callable
from functools import partial

from markupsafe import Markup, escape

from relay.text import END_OF_ISOLATE, ISOLATE, isolated

try:
    from markupsafe import _escape_inner  # type: ignore[attr-defined]
except ImportError:  # markupsafe's own, and there since its version 3

    def _escape_inner(text: str, /) -> str:
        return str(escape(text))


escaped: Callable[[str], str] = _escape_inner
"""Text as HTML, without the mark that `escape` makes: that takes ten times as long as the escaping."""
markup: Callable[[str], Markup] = partial(str.__new__, Markup)
"""Marks text as HTML. `Markup` itself also takes what is no text, and three times as long."""


Shown = Callable[[object], str]
"""How a value is written."""


def text_writer(shown: Shown, *, rtl: bool) -> Shown:
    """What writes a value into text, isolated from words that run from left to right, or with `rtl` the other way."""

    def put(value: object) -> str:
        text = value if type(value) is str else shown(value)
        return text if not rtl and text.isascii() else isolated(text, rtl=rtl)

    return put


def html_writer(shown: Shown, *, rtl: bool) -> Shown:
    """What writes a value into HTML: markup as it is, and all else escaped and isolated; see `with_bdi`."""
    as_text = text_writer(shown, rtl=rtl)

    def put(value: object) -> str:
        if type(value) is str and not rtl and value.isascii():  # nothing to isolate, as mostly
            return escaped(value)
        return value if type(value) is Markup else escaped(as_text(value))

    return put


_TITLE_OR_TAG = re.compile("(<title>.*?</title>|<[^<>]*>)", re.DOTALL)
_ISOLATES = dict.fromkeys(map(ord, (ISOLATE, END_OF_ISOLATE)))
_BDI = {ord(ISOLATE): "<bdi>", ord(END_OF_ISOLATE): "</bdi>"}
_ADDRESS = re.compile(
    rf"(?:https?://|mailto:)(?:[^\s{ISOLATE}{END_OF_ISOLATE}]|{ISOLATE}[^{END_OF_ISOLATE}\n]*{END_OF_ISOLATE})+"
)


def with_bdi(html: str) -> str:
    """Isolates as HTML's own element. A title can hold none and keeps the signs; an attribute may be an address."""
    if ISOLATE not in html:
        return html
    pieces = _TITLE_OR_TAG.split(html)
    pieces[::2] = [piece.translate(_BDI) for piece in pieces[::2]]
    pieces[1::2] = [
        piece if piece.startswith("<title>") else piece.translate(_ISOLATES)
        for piece in pieces[1::2]
    ]
    return "".join(pieces)


def without_isolates_in_addresses(text: str) -> str:
    """Values that a template wrote into an address of its own stay the values that they are."""
    if ISOLATE not in text:
        return text
    return _ADDRESS.sub(lambda address: address[0].translate(_ISOLATES), text)
