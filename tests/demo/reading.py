# ruff: noqa: SIM905 - words in a row; as a list, one a line, they would fill a page
"""Reads HTML as a browser does, for tests that ask what a page would do, not how it is spelt."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

INERT = frozenset(
    "a article b blockquote body br code dd details div dl dt h1 h2 h3 head header hr "
    "html i iframe li link main meta nav ol p pre rect s section span summary svg table "
    "td time title tr ul".split()
)
"""Elements that run nothing, submit nothing and load nothing by themselves (an iframe's `src` is looked at)."""


@dataclass
class Page(HTMLParser):
    """What a document holds: its elements with their attributes, its words, its links."""

    source: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    words: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def dangers(self) -> list[str]:
        """Everything that could run, restyle, submit or call out. Empty for a page that may be looked at."""
        found = [tag for tag, _ in self.elements if tag not in INERT]
        for tag, attributes in self.elements:
            found += [
                name for name in attributes if name.startswith("on") or name in {"style", "srcdoc"}
            ]
            if tag == "a" and "href" in attributes:
                target = urlsplit(attributes["href"])
                if target.scheme and target.scheme not in {"http", "https", "mailto"}:
                    found.append(attributes["href"])
            if tag in {"iframe", "link"}:
                address = attributes.get("src", "") + attributes.get("href", "")
                found += (
                    [] if address.startswith("/") and not address.startswith("//") else [address]
                )
        return found
