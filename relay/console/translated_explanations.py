"""Translates stored English sentences, such as why a rule matched, for the console's pages.

They are stored, compared, logged and printed in English. A page finds the pattern that made a sentence, and shows it
in the reader's language. What has no pattern, such as a server's own answer, stays as it is.
"""

import re
from collections.abc import Mapping
from datetime import date
from functools import cache

from babel.dates import format_skeleton

from relay.languages import N_, SOURCE, Language, language_called
from relay.rules import Finding
from relay.rules.fields import FIELDS
from relay.transports.registry import SERVICES

_CONDITIONS = (
    N_("{subject} is exactly {texts}"),
    N_("{subject} is {texts}"),
    N_("{subject} contains exactly {texts}"),
    N_("{subject} contains the word exactly {texts}"),
    N_("{subject} contains the word {texts}"),
    N_("{subject} contains {texts}"),
    N_("{subject} starts with exactly {texts}"),
    N_("{subject} starts with {texts}"),
    N_("{subject} ends with exactly {texts}"),
    N_("{subject} ends with {texts}"),
    N_("{subject} matches {texts}"),
    N_("{subject} is {size} or higher"),
    N_("{subject} is {size} or lower"),
    N_("{subject} is higher than {size}"),
    N_("{subject} is lower than {size}"),
    N_("{subject} {size} or higher"),
    N_("{subject} {size} or lower"),
    N_("{subject} higher than {size}"),
    N_("{subject} lower than {size}"),
    N_("{subject} {size} or longer"),
    N_("{subject} {size} or shorter"),
    N_("{subject} longer than {size}"),
    N_("{subject} shorter than {size}"),
    N_("{subject} exactly {size}"),
    N_("{subject} {size}"),
    N_("{subject} within {schedules}"),
    N_("{subject} outside {schedules}"),
    N_("'{field}' is empty"),
    N_("'{field}' has a value"),
    N_("no {subject}"),
    N_("no {key} of the visitor"),
    N_("visitor's {key}"),
)
_FINDINGS = (
    N_("it was {texts}, alike but for accents or punctuation"),
    N_("it was {texts}, read as {size}"),
    N_("it was {value}"),
    N_("they were {value}"),
    N_("none of the {count} did"),
    N_("not a number: {texts}"),
)
_CAUSES = (
    N_("given up after {count} hours: {sentence}"),
    N_("given up after {count} days: {sentence}"),
    N_("{server} could not be reached: {sentence} ({value})"),
    N_("{server} could not be reached: {value}"),
    N_("{server} could not be reached in time"),
    N_("{server} did not answer in time"),
    N_("{server} did not answer {asked} within {count} s"),
    N_("{server} dropped the line before it answered"),
    N_("{server} dropped the line after {asked}"),
    N_("{server} asked all posts to wait"),
    N_("{server} answered {asked} with {value}"),
    N_("{service} answered {value}"),
    N_("no answer within {count} s"),
    N_("posted as {post} in {room}"),
    N_("it was not checked, because “{rule}” stops"),
    N_("{destination} no longer leads to this recipient, and for this chat to nobody else"),
    N_("{destination} no longer leads to this recipient; its present recipient gets it instead"),
    N_("{destination} no longer leads to this recipient; its {count} recipients get it instead"),
)
_PLACES: Mapping[str, str] = {
    "subject": "|".join(
        [
            *(
                re.escape(each.subject)
                for each in sorted(FIELDS.values(), key=lambda each: -len(each.subject))
            ),
            "visitor's .+?",
        ]
    ),
    "texts": "“.*”",
    "size": r"-?\d(?:[\d.]|(?:, | or | )-?(?=\d)| ?(?:d|h|min|s)\b)*",
    "field": "[^']+",
    "server": r"\S+(?: \S+){0,3}?",
    "service": "|".join(SERVICES),
    "asked": r"\S+|the greeting|the login|our sender address|the recipient|the mail",
    "post": r"\S+",
    "room": r"\S+",
    "count": r"[\d.]+",
}
"""The regular expressions of placeholders; other placeholders match anything."""
_TRANSLATED_TOO = {"subject", "sentence", "asked", "service", "server"}
"""Placeholders whose values are translated, too."""
_FIXED = (
    N_("always"),
    N_("all of these"),
    N_("any of these"),
    N_("not this"),
    N_("not all of these"),
    N_("yes"),
    N_("no"),
    N_("Smartsupp did not say"),
    N_("the greeting"),
    N_("the login"),
    N_("our sender address"),
    N_("the recipient"),
    N_("the mail"),
    N_("The webhook"),
    N_("its name can't be looked up now"),
    N_("there is no host of this name"),
    N_("this is not a host name"),
    N_("this port does not encrypt"),
    N_("nothing listens on this port"),
    N_("it dropped the connection"),
    N_("no way leads there"),
    N_("it did not answer in time"),
    N_("no answer in time"),
    N_("nothing could be sent in time"),
    N_("the relay was stopped before anything was sent"),
    N_("the rules file was changed before anything was sent"),
    N_("the relay was stopped before the answer"),
    N_("all its chats were erased; nothing is sent"),
    N_("the relay stood still until another might have taken it up; nothing was sent"),
    N_("the relay was stopped in the middle of the attempt before this one; it is not repeated"),
    N_("the relay itself failed; its log says how"),
    N_("it is turned off"),
    N_("it does not match"),
    N_("it matches"),
    N_("it matches, but sends to others than expected"),
    N_("it matches, but sends to others, or at another time, than expected"),
    N_("asking the rules takes longer than it may for one chat"),
)


def translated(sentence: str, language: Language) -> str:
    """A stored sentence in the reader's language; unchanged if it has no pattern."""
    if language.name == SOURCE or not sentence:
        return sentence
    if sentence in _fixed():
        return language.gettext(sentence)
    for message, pattern in _patterns():
        if match := pattern.fullmatch(sentence):
            places = {
                name: translated(value, language)
                if name in _TRANSLATED_TOO
                else _value(value, language)
                for name, value in match.groupdict().items()
            }
            return language.gettext(message, **places)
    return sentence


def finding_in_words(finding: Finding, language: Language) -> str:
    """A condition, whether it was met, and the value in the chat; for nested conditions, those that decided it."""
    answer = translated("yes" if finding.holds else "no", language)
    seen = f", {translated(finding.saw, language)}" if finding.saw else ""
    wanted = finding.holds is not finding.words.startswith("not ")
    decided = [finding_in_words(each, language) for each in finding.parts if each.holds is wanted]
    within = f" ({'; '.join(decided)})" if decided else ""
    return f"{translated(finding.words, language)}: {answer}{seen}{within}"


@cache
def _fixed() -> frozenset[str]:
    fields = FIELDS.values()
    return frozenset(
        (*_FIXED, *(each.subject for each in fields), *(each.absent for each in fields))
    )


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (message, re.compile(_PLACE.sub(_group, re.escape(message))))
        for message in (*_CONDITIONS, *_FINDINGS, *_CAUSES)
    )


_PLACE = re.compile(r"\\{(\w+)\\}")


def _group(place: re.Match[str]) -> str:
    return f"(?P<{place[1]}>{_PLACES.get(place[1], '.+')})"


_TIME = re.compile(r"[A-Z][a-z]{2} (\d{4}-\d\d-\d\d) (\d\d:\d\d \(.+\))")
_ITEM = r"“[^“”]*”|[^“”, ]+(?: [^“”, ]+)*?"
_LIST = re.compile(rf"((?:{_ITEM})(?:, (?:{_ITEM}))*) (or|and) ({_ITEM})")
_QUOTED = re.compile("“([^“”]*)”")


def _value(text: str, language: Language) -> str:
    """A value within a sentence, with quotes, dates and the `or` of a list in the style of this language."""
    if at := _TIME.fullmatch(text):
        day = format_skeleton("yMMMEd", date.fromisoformat(at[1]), locale=language.locale)
        return f"{day} {at[2]}"
    if several := _LIST.fullmatch(text):
        word = language.gettext(N_("or")) if several[2] == "or" else language.gettext(N_("and"))
        text = f"{several[1]} {word} {several[3]}"
    quote = language_called(language.name).gettext
    return _QUOTED.sub(lambda match: quote("“{text}”", text=match[1]), text)
