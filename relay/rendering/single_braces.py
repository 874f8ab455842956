"""`{city}` in a user's template: it is printed as it stands, and {{ visitor.city }} was meant."""

import re
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, TemplateSyntaxError

from relay.files import read_file
from relay.rendering.reference import NAMES

MAX_SIZE = 400_000
_ENDINGS = {".txt", ".html"}
_SINGLE = re.compile(r"(?<!\{)\{\s*([a-zA-Z_][\w.]*)\s*\}(?!\})")
_NOT_SHOWN = re.compile(r"(?is)<(style|script)\b.*?</\1\s*>")


def single_braces(folder: Path) -> Iterator[tuple[Path, int, str]]:
    """File, line and what to write instead, for each in the templates of a folder. Raises OSError."""
    for path in sorted(folder.glob("[!.]*/*.*")):
        if path.suffix in _ENDINGS and path.is_file():
            for line, name in _in_source(read_file(path, MAX_SIZE).decode("utf-8", "replace")):
                yield (
                    path,
                    line,
                    f"'{{{name}}}' is printed as it stands; write {{{{ {_meant(name)} }}}}",
                )


def _in_source(source: str) -> Iterator[tuple[int, str]]:
    """Outside of what Jinja reads, where braces have a meaning of their own."""
    try:
        pieces = list(Environment(autoescape=True).lex(source))
    except TemplateSyntaxError:
        return  # said by those who try the template out
    for line, kind, text in pieces:
        if kind == "data":
            shown = _NOT_SHOWN.sub(lambda hidden: re.sub(r"[^\n]", " ", hidden[0]), text)
            for found in _SINGLE.finditer(shown):
                yield line + shown.count("\n", 0, found.start()), found[1]


def _meant(name: str) -> str:
    """The name that templates know, by its last part."""
    known = [each.name for each in NAMES]
    if name in known:
        return name
    last = name.rpartition(".")[2].casefold()
    ends = [each for each in known if each.rpartition(".")[2] == last]
    return ends[0] if ends else name
