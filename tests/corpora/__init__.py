"""Strings that have broken programs before: other people's lists and our own. README.md says where each is from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_LENGTHS = (0, 58, 60, 61, 74, 78, 120, 200)
"""Around those at which a header is folded."""


def _read(name: str) -> Any:
    return json.loads((_HERE / f"{name}.json").read_text("utf-8"))


def _at_all_lengths(name: str) -> Iterator[str]:
    for length in _LENGTHS:
        missing = max(0, length - len(name) - 2)
        yield f"{'x' * (missing // 2)} {name} {'y' * (missing - missing // 2)}"


NAUGHTY: tuple[str, ...] = tuple(_read("naughty_strings"))
ADDRESSES: tuple[str, ...] = tuple(_read("addresses"))
MARKUP: dict[str, tuple[str, ...]] = {kind: tuple(texts) for kind, texts in _read("markup").items()}
"""By who would obey it: `slack`, `teams`, `mail`, `html`, `templates`; and `names`, which are hard to quote."""
NAMES = tuple(long for name in MARKUP["names"] for long in _at_all_lengths(name))
ALL: tuple[str, ...] = tuple(
    dict.fromkeys(text for texts in (NAUGHTY, ADDRESSES, *MARKUP.values(), NAMES) for text in texts)
)
