"""Values and text as HTML. A mail has some two hundred of them, so it is done without a detour."""

from collections.abc import Callable
from functools import partial

from markupsafe import Markup, escape

try:
    from markupsafe import _escape_inner  # type: ignore[attr-defined]
except ImportError:  # markupsafe's own, and there since its version 3

    def _escape_inner(text: str, /) -> str:
        return str(escape(text))


escaped: Callable[[str], str] = _escape_inner
"""Text as HTML, without the mark that `escape` makes: that takes ten times as long as the escaping."""
markup: Callable[[str], Markup] = partial(str.__new__, Markup)
"""Marks text as HTML. `Markup` itself also takes what is no text, and three times as long."""


def html_writer(shown: Callable[[object], str]) -> Callable[[object], str]:
    """What writes a value into HTML: markup as it is, and all else escaped. `shown` says how a value is written."""

    def put(value: object) -> str:
        if type(value) is str:
            return escaped(value)
        return value if type(value) is Markup else escaped(shown(value))

    return put
