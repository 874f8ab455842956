"""What `_` and `ngettext` are within templates: words in the reader's language, with values put into them.

    {{ _("{who} left a message", who=visitor.called) }}
    {{ ngettext("{count} page", "{count} pages", earlier_pages) }}

In HTML both the words and the values are escaped, unless the value is what a macro wrote.
"""

from collections.abc import Callable, Mapping
from functools import partial

from markupsafe import Markup, escape

from relay.languages import filled
from relay.templating.words import Words

MAX_SAID = 200_000
"""Characters that one of them may grow to."""


class TooLong(Exception):
    """Values that are put in so often, or are so long, that nobody could read the result."""


Write = Callable[[object], str]


def sayings(words: Words, write: Write, *, html: bool) -> Mapping[str, Callable[..., str]]:
    """`write` is how a value is written in this language."""
    fill = partial(_fill_html if html else _fill, write)
    language = words.language

    def say(message: str, /, **values: object) -> str:
        return fill(language.gettext(message), values)

    def say_count(one: str, many: str, count: float, /, **values: object) -> str:
        # The count goes in as it is written, not as it is counted: 4.5 stays 4,5.
        return fill(language.ngettext(one, many, count), {"count": count, **values})

    return {"_": say, "ngettext": say_count}


def _fill(write: Write, said: str, values: Mapping[str, object]) -> str:
    return filled(said, _written(write, said, values))


def _fill_html(write: Write, said: str, values: Mapping[str, object]) -> Markup:
    escaped = _written(lambda value: str(escape(write(value))), said, values)
    return Markup(filled(str(escape(said)), escaped))  # noqa: S704 - both halves are escaped


def _written(write: Write, said: str, values: Mapping[str, object]) -> dict[str, str]:
    """Raises TooLong before anything is put together."""
    written = {name: write(value) for name, value in values.items()}
    longest = max(map(len, written.values()), default=0)
    if len(said) + longest * said.count("{") > MAX_SAID:
        raise TooLong(f"_ and ngettext write at most {MAX_SAID:,} characters")
    return written
