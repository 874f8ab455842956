"""How rules, values and suggestions are put into words, for problems and for explanations."""

import difflib
from collections.abc import Iterable
from datetime import timedelta
from itertools import islice

from relay.redaction import redact_line
from relay.text import clean_line

MAX_SHOWN = 80
"""Characters of a value that are shown; enough to recognise it."""


def shown(text: str) -> str:
    """A text from a rules file as a message may show it: quoted, short, without secrets."""
    return f"'{redact_line(clean_line(text[:1000], MAX_SHOWN))}'"


def quoted(text: str) -> str:
    """A text from a chat or a condition, as an explanation shows it."""
    return f"“{clean_line(text[:1000], MAX_SHOWN)}”"


def listed(words: Iterable[str], last: str = "or") -> str:
    """`a`, `a or b`, `a, b or c`."""
    *most, end = list(words) or ["none"]
    return f"{', '.join(most)} {last} {end}" if most else end


def there_are(names: Iterable[str], limit: int = 12) -> str:
    """`there are: a, b, c`; says how many more there are where they are many."""
    known = [shown(name)[1:-1] for name in names]
    if not known:
        return "there are none"
    more = f" and {len(known) - limit} more" if len(known) > limit else ""
    return f"there {'is' if len(known) == 1 else 'are'}: {', '.join(known[:limit])}{more}"


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The names that `word` was probably meant to be. Bounded: looking for them costs by both lengths."""
    if len(word) > 60:
        return []
    # Compared without case and with - for _, which is how people misremember names.
    few = islice((name for name in known if len(name) <= 60), 500)
    plain = {name.casefold().replace("-", "_"): name for name in few}
    near = difflib.get_close_matches(word.casefold().replace("-", "_"), plain, n=count, cutoff=0.7)
    return [plain[name] for name in near]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest ones, or else all there are."""
    names = list(known)
    near = nearest(word, names)
    return f"did you mean {listed(near)}?" if near else there_are(names)


_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def duration_words(value: timedelta) -> str:
    """`3 min 20 s`, `2 h`, `0 s`."""
    rest = abs(value.total_seconds())
    parts = []
    for unit, seconds in _UNITS:
        whole, rest = divmod(rest, seconds)
        if whole:
            parts.append(f"{int(whole)} {unit}")
    if rest or not parts:
        parts.append(f"{number_words(round(rest, 3))} s")
    return ("-" if value < timedelta(0) else "") + " ".join(parts)


def number_words(value: float) -> str:
    """`4`, `4.5`; no exponent, no trailing zero."""
    if isinstance(value, int) or value.is_integer():
        return str(int(value))
    return f"{value:.6f}".rstrip("0").rstrip(".")
