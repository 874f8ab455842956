"""What a page of the console says, and whether it is one that its policy allows."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

MAY_BE_EMPTY = {"meta", "link", "input", "br", "hr"}


@dataclass
class Read(HTMLParser):
    """A page, taken apart."""

    html: str
    texts: dict[str, list[str]] = field(default_factory=dict)
    """The text of each element with a class, by the class."""
    links: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What the policy would block, and what is no good HTML."""
    ids: list[str] = field(default_factory=list)
    headings: int = 0
    """Of the first rank."""
    language: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, list[str], list[str]]] = []
        self.feed(self.html)
        self.close()
        self.wrong += [f"<{tag}> is never closed" for tag, _, _ in self._open]
        self.wrong += [f"twice: {one}" for one in {*self.ids} if self.ids.count(one) > 1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.wrong += [
            f"<{tag} {name}>" for name in given if name == "style" or name.startswith("on")
        ]
        if tag == "style" or (tag == "script" and not given.get("src", "").startswith("/static/")):
            self.wrong.append(f"<{tag}>")
        for name in ("href", "src", "action", "hx-get", "hx-post"):
            value = given.get(name, "/")
            is_link = name == "href" and tag == "a"
            if not re.match(r"[/#](?!/)|https?://|mailto:" if is_link else r"[/#](?!/)", value):
                self.wrong.append(f"{name}={value}")
            elif is_link:
                self.links.append(value)
        self.headings += tag == "h1"
        if tag == "html":
            self.language = given.get("lang", "")
        if "id" in given:
            self.ids.append(given["id"])
        if tag not in MAY_BE_EMPTY:
            self._open.append((tag, given.get("class", "").split(), []))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.wrong.append(f"</{tag}> where another was open")
            return
        _, classes, text = self._open.pop()
        for each in classes:
            self.texts.setdefault(each, []).append("".join(text))

    def handle_data(self, data: str) -> None:
        for _, _, text in self._open:
            text.append(data)

    @property
    def text(self) -> str:
        """All that is read, with single blanks."""
        return " ".join(re.sub(r"<[^>]*>", " ", self.html).split())
