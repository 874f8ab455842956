"""What `_` and `ngettext` are within templates: words in the reader's language, with values put into them.

    {{ _("{who} left a message", who=visitor.called) }}
    {{ ngettext("{count} page", "{count} pages", earlier_pages) }}

In HTML both the words and the values are escaped, unless the value is what a macro wrote. These are what they are at
rendering: most of what is said is put together already where a template is compiled (`code_generator`).
"""

from collections.abc import Callable, Mapping

from relay.languages import filled
from relay.rendering.escaping import escaped, markup
from relay.rendering.words import Words

MAX_SAID = 200_000
"""Characters that one of them may grow to."""


class TooLong(Exception):
    """Values that are put in so often, or are so long, that nobody could read the result."""


Put = Callable[[object], str]


def sayings(words: Words, put: Put, *, html: bool) -> Mapping[str, Callable[..., str]]:
    """`put` writes a value, escaped where that is needed."""
    language = words.language

    def fill(said: str, values: Mapping[str, object]) -> str:
        text = filled(escaped(said) if html else said, _written(put, said, values))
        return markup(text) if html else text

    def say(message: str, /, **values: object) -> str:
        return fill(language.gettext(message), values)

    def say_count(one: str, many: str, count: float, /, **values: object) -> str:
        # The count goes in as it is written, not as it is counted: 4.5 stays 4,5.
        return fill(language.ngettext(one, many, count), {"count": count, **values})

    return {"_": say, "ngettext": say_count}


def _written(put: Put, said: str, values: Mapping[str, object]) -> dict[str, str]:
    """Raises TooLong before anything is put together."""
    written = {name: put(value) for name, value in values.items()}
    longest = max(map(len, written.values()), default=0)
    if len(said) + longest * said.count("{") > MAX_SAID:
        raise TooLong(f"_ and ngettext write at most {MAX_SAID:,} characters")
    return written
