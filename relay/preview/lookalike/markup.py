"""What both look-alikes are made of: careful reading of unknown JSON, and HTML that can't be broken out of."""

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from markupsafe import Markup, escape

Node = Mapping[str, object]
"""A JSON object of which nothing is known."""

_SAFE_SCHEMES = frozenset({"http", "https", "mailto"})


def node(value: object) -> Node:
    """The value itself where it is an object, an empty one otherwise."""
    return value if isinstance(value, Mapping) else {}


def nodes(value: object) -> list[Node]:
    """A list's members, one by one; what is no object becomes an empty one."""
    return [node(item) for item in value] if isinstance(value, list) else []


def words(value: object) -> str:
    """A text or number as text; empty for all else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def choice(value: object, known: Sequence[str]) -> str:
    """The value where it is one of the known words, without case; empty otherwise."""
    return next((word for word in known if word.lower() == words(value).lower()), "")


def joined(pieces: Sequence[Markup]) -> Markup:
    return Markup("").join(pieces)


def with_breaks(html: Markup) -> Markup:
    return html.replace("\n", Markup("<br>"))


def is_safe(url: str) -> bool:
    try:
        return urlsplit(url).scheme.lower() in _SAFE_SCHEMES
    except ValueError:
        return False


def link(url: str, label: str | Markup) -> Markup:
    """A link that tells its target nothing; for other schemes than http(s) and mailto only the words."""
    if not is_safe(url):
        return escape(label)
    return Markup(
        '<a href="{}" title="{}" target="_blank" rel="noopener noreferrer nofollow">{}</a>'
    ).format(url, url, label)


def unknown(kind: object) -> Markup:
    """In place of an element that is not known here."""
    name = words(kind)[:60] or "without a type"
    return Markup('<div class="unknown">unknown element: {}</div>').format(name)


class Kept:
    """Finished HTML taken out of a text, each piece with a mark left behind, while the rest is worked on."""

    MARK = "\ufffc"
    """U+FFFC, object replacement character. One that stands in the text itself has to be kept, too."""

    def __init__(self) -> None:
        self._pieces: list[Markup] = []

    def keep(self, html: Markup) -> str:
        self._pieces.append(html)
        return self.MARK

    def put_back(self, html: str) -> Markup:
        """`html` is escaped and holds the marks in the order in which they were handed out."""
        pieces = iter(self._pieces)
        return Markup(re.sub(self.MARK, lambda _: next(pieces), html))  # noqa: S704 - both parts are escaped


def styled(escaped: str, pattern: re.Pattern[str], tags: Mapping[str, str]) -> str:
    """Escaped text with `*this*` made `<b>this</b>`, inside one another as well.

    Each of the pattern's named groups holds what stands between a pair of marks, and is named in `tags`.
    No group may match its own marks, which bounds the recursion by the number of groups.
    """

    def replace(match: re.Match[str]) -> str:
        name = match.lastgroup or ""
        inner = styled(match[name], pattern, tags)
        return f"<{tags[name]}>{inner}</{tags[name]}>"

    return pattern.sub(replace, escaped)


def each(items: Sequence[Node], show: Callable[[Node], Markup]) -> Markup:
    return joined([show(item) for item in items])
