"""The console speaks four languages, and each has every word."""

import json
import re
import subprocess
import sys
from gettext import NullTranslations
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from relay.chat import Chat
from relay.console.page import CATALOGUES, language_for
from relay.console.page import language_called as console_language
from relay.console.translated_explanations import finding_in_words, translated
from relay.languages import LANGUAGES, SOURCE, Language
from relay.languages.catalogue import read_catalogue
from relay.rules import Finding
from relay.rules.field_type import Field, Kind
from relay.rules.fields import FIELDS
from relay.rules.operators import ANY_VARIABLE, OPERATORS, operators_for
from tests.builders import a_chat
from tests.rules.books import a_book

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "relay" / "console" / "pages"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """What `make messages` finds in the console's code and pages."""
    path = tmp_path_factory.mktemp("messages") / "console.pot"
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    ((command, folders),) = re.findall(
        r"\$\(PYBABEL\) (extract [^\n]*?) --output \$\(CONSOLE\) (relay/[^\n]*)\n", makefile
    )
    shell = f'"{sys.executable}" -m babel.messages.frontend --quiet {command} --output "{path}" {folders}'
    subprocess.run(shell, shell=True, cwd=ROOT, check=True)  # noqa: S602 - our own Makefile
    with path.open("rb") as file:
        return read_po(file)


@pytest.mark.parametrize("tag", [each for each in LANGUAGES if each != SOURCE])
def test_every_word_is_translated_and_none_too_many(found: Catalog, tag: str) -> None:
    catalogue = read_catalogue(CATALOGUES / f"{tag}.po", tag)
    assert [str(each) for each in catalogue.mistakes] == []
    wanted = {each.id if isinstance(each.id, str) else each.id[0] for each in found if each.id}
    there = {
        each.id if isinstance(each.id, str) else each.id[0] for each in catalogue.entries if each.id
    }
    assert there == wanted


@pytest.mark.parametrize(
    ("accepted", "usual", "tag"),
    [
        ("cs,en;q=0.5", "en", "cs"),
        ("de-AT", "en", "de"),
        ("fr;q=0.9,es;q=0.8", "en", "es"),
        ("fr", "cs", "cs"),
        ("", "de", "de"),
        ("*", "es", "es"),
        ("cs;q=0,de;q=0.1", "en", "de"),
        ("CS", "en", "cs"),
        ("x;q=y", "fr", "en"),
    ],
)
def test_the_browser_chooses_the_language_and_then_the_rules_do(
    accepted: str, usual: str, tag: str
) -> None:
    assert language_for(accepted, usual).name == tag


def test_no_page_lets_words_through_unescaped() -> None:
    for page in PAGES.glob("*.html"):
        text = page.read_text("utf-8")
        assert not re.search(r"\|\s*safe|autoescape|Markup|style=|<style|\son\w+=", text), page.name


def test_no_style_has_letters_that_can_not_grow() -> None:
    style = (PAGES.parent / "static" / "console.css").read_text("utf-8")
    assert re.findall(r"font(?:-size)?:\s*[\d.]+px", style) == []


class Bracketed(NullTranslations):
    """Says each text as it is, in brackets."""

    def gettext(self, message: str) -> str:
        return f"[{message}]"


# A name that is not that of the source, with the quotes of English.
BRACKETED = Language("en-GB", Bracketed())
VALUES = {
    Kind.YES_NO: ("true", "false"),
    Kind.NUMBER: ("3", "-1.5"),
    Kind.DURATION: ("90s", "1d2h"),
    Kind.TIME: ("office", "night"),
    Kind.TEXT: ("it's «x», or lower", "is exactly y"),
    Kind.TEXTS: ("a or b", "no, it was 4"),
    Kind.VARIABLE: ("4", "7"),
}
SCHEDULES = """\
schedules:
  office: {days: mon-fri, hours: 08:00-17:00}
  night: {days: mon-sun, hours: 22:00-06:00}
destinations:
  desk: {email: {to: desk@example.com}}
rules:
"""


@pytest.mark.parametrize("field", [*FIELDS.values(), ANY_VARIABLE], ids=lambda field: field.name)
def test_every_sentence_of_a_rule_can_be_said_in_every_language(field: Field) -> None:
    when = []
    for name in operators_for(field.kind):
        operator, values = OPERATORS[name], VALUES[field.kind]
        if name == "empty":
            values = ("true", "false")
        wanted: list[object] = [values[0], values[1], *([list(values)] if operator.many else [])]
        if operator.exact_form and field.kind in operator.exact_form.kinds and name != "one_of":
            wanted.append({"exactly": values[0]})
        when += [{field.name: {name: value}} for value in wanted]
    rules = [
        {"name": str(number), "send_to": "desk", "when": each} for number, each in enumerate(when)
    ]
    book = a_book(f"{SCHEDULES}  {json.dumps(rules)}")
    for chat in (a_chat(1), Chat(account="208", id="1")):
        for verdict in book.explain(chat):
            (found,) = verdict.findings
            assert (
                translated(found.words, BRACKETED).replace("[", "").replace("]", "") == found.words
            )
            for words in filter(None, (found.words, found.saw)):
                assert translated(words, BRACKETED)[0] == "[", words
            for language in map(console_language, ("cs", "de", "es")):
                assert (
                    translated(found.words, language) != found.words or field.subject == "dropped"
                )


@pytest.mark.parametrize(
    ("kept", "czech"),
    [
        ("rated 2 or lower", "hodnocení nejvýše 2"),
        (
            "visitor's note contains “VIP”, “a” or “b”",
            "poznámka k návštěvníkovi obsahuje „VIP“, „a“ nebo „b“",
        ),
        ("visitor's plan is “it was 4”", "údaj návštěvníka plan je „it was 4“"),
        (
            "it was Sun 2026-11-29 11:23 (Europe/Prague)",
            "bylo to ne 29. 11. 2026 11:23 (Europe/Prague)",
        ),
        (
            "given up after 36 hours: Slack could not be reached: no way leads there (10.0.0.1 port 443)",
            "vzdáno po 36 h: Slack je nedostupný: nevede tam žádná cesta (10.0.0.1 port 443)",
        ),
        (
            "mail.example.com answered the recipient with 550 5.1.1 user unknown",
            "mail.example.com odpověděl (příjemce): 550 5.1.1 user unknown",
        ),
        ("The webhook did not answer in time", "Webhook včas neodpověděl"),
        ("250 2.0.0 Ok: queued", "250 2.0.0 Ok: queued"),
        ("", ""),
    ],
)
def test_what_was_kept_in_english_is_said_in_czech(kept: str, czech: str) -> None:
    assert translated(kept, console_language("cs")) == czech
    assert translated(kept, console_language("en")) == kept


def test_a_finding_says_which_of_its_parts_decided() -> None:
    rated, missed = "rated 3 or lower", "missed"
    parts = (
        Finding(words=rated, holds=True, saw="it was 1"),
        Finding(words=missed, holds=False),
    )
    any_of = Finding(words="any of these", holds=True, parts=parts)
    none_of = Finding(words="not all of these", holds=True, parts=parts)
    english = console_language("en")
    assert (
        finding_in_words(any_of, english) == "any of these: yes (rated 3 or lower: yes, it was 1)"
    )
    assert finding_in_words(none_of, english) == "not all of these: yes (missed: no)"
