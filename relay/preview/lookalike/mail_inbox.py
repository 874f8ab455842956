"""How a mail program shows an email's HTML: the preview text in its inbox, and the height of the page."""

import math
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

_BLOCKS = frozenset("body div table tr td th p h1 h2 h3 pre ul ol li blockquote".split())  # noqa: SIM905
_UNSEEN = frozenset({"head", "style", "title"})
_CARD = 600
"""Pixels: the greatest width of the relay's emails; a window of at most this width gets the layout for phones."""
_LETTER = 0.57
"""Average width of a letter in relation to its height: slightly more than in most fonts."""
_MORE = 1.04
_PIXELS = re.compile(r"(-?\d+(?:\.\d+)?)px")
_FILL = "\N{COMBINING GRAPHEME JOINER}"
"""The first character of the white space that keeps the rest of an email out of the inbox's preview text."""


def inbox_words(html: str, most: int = 110) -> str:
    """The first words of an email, which an inbox shows after the subject: at most `most` characters."""
    words = " ".join("".join(_read(html, _CARD).words).partition(_FILL)[0].split())
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def page_height(html: str, width: int) -> int:
    """The height of an email in a window of this width, in pixels; rather too high than too low."""
    return math.ceil(_read(html, width).height * _MORE)


@dataclass(slots=True)
class _Box:
    """An element that has lines of its own, or a row of such elements."""

    tag: str
    width: float
    size: float
    line: float
    around: float = 0
    """Pixels above and below the contents."""
    inside: float = 0
    text: list[str] = field(default_factory=list)

    def end_lines(self) -> None:
        letters = self.size * _LETTER
        for line in "".join(self.text).split("\n") if "".join(self.text).strip() else ():
            self.inside += self.line * max(1, math.ceil(len(line.strip()) * letters / self.width))
        self.text.clear()

    def take(self, height: float) -> None:
        self.inside = max(self.inside, height) if self.tag == "tr" else self.inside + height

    @property
    def height(self) -> float:
        return self.around + self.inside


class _Layout(HTMLParser):
    def __init__(self, width: int) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.height = 0.0
        self._is_phone = width <= _CARD
        self._open = [_Box("", min(width, _CARD), 16, 24)]
        self._unseen: list[str] = []
        """The open elements that are not shown."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        style = _style(dict(attrs).get("style") or "")
        box = self._open[-1]
        if self._unseen or tag in _UNSEEN or style.get("display") == "none":
            self._unseen += [tag] if tag not in {"br", "meta"} else []
        elif tag == "br":
            box.text.append("\n")
        elif tag in _BLOCKS or style.get("display") == "inline-block":
            box.end_lines()
            self.words.append(" ")
            self._open.append(self._inside(box, tag, dict(attrs), style))

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            if self._unseen[-1] == tag:
                self._unseen.pop()
        elif any(box.tag == tag for box in self._open):
            self.words.append(" ")
            while (box := self._open.pop()).tag != tag:
                self._close(box)
            self._close(box)

    def handle_data(self, data: str) -> None:
        if not {"style", "head", "title"} & set(self._unseen):
            self.words.append(data)
        if not self._unseen:
            self._open[-1].text.append(data.replace("\n", " "))

    def close(self) -> None:
        super().close()
        while len(self._open) > 1:
            self._close(self._open.pop())
        self._open[0].end_lines()
        self.height = self._open[0].height

    def _close(self, box: _Box) -> None:
        box.end_lines()
        self._open[-1].take(box.height)

    def _inside(
        self, box: _Box, tag: str, attributes: dict[str, str | None], style: dict[str, str]
    ) -> _Box:
        width = box.width
        if tag in {"td", "th"} and attributes.get("scope") == "row":
            width *= 0.34
        _, right, _, left = _sides(style.get("padding", ""))
        if self._is_phone and attributes.get("class") and "pad" in str(attributes["class"]).split():
            right, left = 20.0, 20.0
        if "84%" in style.get("max-width", ""):
            width *= 0.84
        made = replace(box, tag=tag, width=max(width - left - right, 20), inside=0, text=[])
        made.size = _pixels(style.get("font-size", ""), box.size)
        made.line = _pixels(style.get("line-height", ""), made.size * 1.5)
        made.around = _upright(style)
        if self._is_phone and "out" in str(attributes.get("class") or "").split():
            made.around = 0
        return made


def _read(html: str, width: int) -> _Layout:
    layout = _Layout(width)
    layout.feed(html)
    layout.close()
    return layout


def _style(declared: str) -> dict[str, str]:
    parts = (declaration.partition(":") for declaration in declared.split(";"))
    return {name.strip(): value.strip() for name, _, value in parts if value}


def _pixels(value: str, otherwise: float) -> float:
    match = _PIXELS.search(value)
    return float(match[1]) if match else otherwise


def _sides(value: str) -> tuple[float, float, float, float]:
    """Top, right, bottom and left of a padding or a margin, in pixels."""
    sizes = [_pixels(each, 0) for each in value.split()] or [0.0]
    top, right, bottom, left = (sizes + sizes[:1] * 3)[:4] if len(sizes) in {1, 4} else (
        sizes[0], sizes[1], sizes[2] if len(sizes) > 2 else sizes[0], sizes[1]
    )  # fmt: skip
    return top, right, bottom, left


def _upright(style: dict[str, str]) -> float:
    """Pixels above and below an element's contents: padding, margin and border."""
    edges = [_sides(style.get(name, "")) for name in ("padding", "margin")]
    borders = sum(_pixels(value, 0) * (2 if name == "border" else 1) for name, value in style.items() if name in {"border", "border-top", "border-bottom"})  # fmt: skip
    return sum(top + bottom for top, _, bottom, _ in edges) + borders
