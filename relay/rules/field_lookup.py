"""The names of fields: which field a name means, and which one somebody meant who wrote Smartsupp's."""

from collections.abc import Mapping
from functools import lru_cache

from relay.chat import Chat
from relay.rules import stated_values
from relay.rules.field_type import Field, Kind, Raw
from relay.rules.fields import FIELDS

VARIABLES = "visitor.variables."


def _variable(key: str) -> Field:
    def get(chat: Chat) -> Raw:
        found = chat.visitor.variables.get(key)
        return None if found is None else found.value

    return Field(
        kind=Kind.VARIABLE,
        name=VARIABLES + key,
        wire=f"visitor.variables.{key}.value",
        doc="What the site's own code told Smartsupp about the visitor, by its key.",
        subject=f"visitor's {key}",
        absent=f"no {key} of the visitor",
        get=get,
        put=stated_values.variable(key),
    )


ANY_VARIABLE = _variable("<key>")
"""Stands for all of them in tables."""

# The same key in two rules is the same field, so that its value is made ready once.
_known_variable = lru_cache(maxsize=1024)(_variable)


def field_named(name: str) -> Field | None:
    """The field, or None where there is none of that name."""
    key = name.removeprefix(VARIABLES)
    if key != name and key:
        return _known_variable(key)
    return FIELDS.get(name)


def _by_wire_name() -> Mapping[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for field in FIELDS.values():
        for wire in field.wire.replace(",", " ").split():
            for spelling in (wire, wire.replace("[]", ""), wire.rpartition(".")[2]):
                others = names.get(spelling, ())
                if spelling not in FIELDS and field.name not in others:
                    names[spelling] = (*others, field.name)
    return names


SMARTSUPP_NAMES: Mapping[str, tuple[str, ...]] = {
    **_by_wire_name(),
    "country": ("visitor.country_code",),
    "visitor.country": ("visitor.country_code",),
}
"""How Smartsupp spells a field -> our names for it. Every name that is also one of ours is left out."""

OTHER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("or", "any_of", "one_of"), "any"),
    **dict.fromkeys(("and", "all_of"), "all"),
    **dict.fromkeys(("none", "no", "unless", "except"), "not"),
    **dict.fromkeys(("message", "messages", "text", "content", "words"), "said, or answered"),
    **dict.fromkeys(("stars", "score", "review"), "rating"),
    **dict.fromkeys(("response", "response_time", "waiting_time", "wait"), "first_response"),
    **dict.fromkeys(("operator", "operators", "user"), "agent"),
    **dict.fromkeys(("customer", "client", "fullname", "first_name", "last_name"), "visitor.name"),
    **dict.fromkeys(("town", "location", "place", "region"), "visitor.city"),
    **dict.fromkeys(("mail", "e-mail", "email_address", "address"), "visitor.email"),
    **dict.fromkeys(("nation", "country_name", "countrycode"), "visitor.country_code"),
    **dict.fromkeys(("os", "device", "browser", "system", "mobile"), "visitor.platform"),
    **dict.fromkeys(("referrer", "source", "origin", "came_from"), "visitor.referer"),
    **dict.fromkeys(("link", "site", "website", "domain"), "page.url"),
    **dict.fromkeys(("feedback", "comment"), "rating_comment"),
    **dict.fromkeys(("length", "time_spent"), "duration"),
    **dict.fromkeys(("phone", "telephone", "order", "plan", "cart"), "visitor.variables.<key>"),
    **dict.fromkeys(
        ("language", "lang", "locale"),
        "visitor.country_code, page.url or a variable of your site: the hook does not say a language",
    ),
    **dict.fromkeys(("department", "team", "tag", "tags"), "visitor.group"),
    **dict.fromkeys(("bot", "automatic"), "bot_only"),
    **dict.fromkeys(
        ("time", "hour", "hours", "day", "days", "date", "schedule"), "began: {within: office}"
    ),
}
"""What people write instead -> what to write."""


def fields_with(part: str) -> tuple[str, ...]:
    """The fields of which this is a part: `ip` of visitor.ip, `page` of page.url and page.title."""
    return tuple(name for name in FIELDS if part in name.split("."))
