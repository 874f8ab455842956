"""A user's own catalogues: text by text they go before those that come with the relay, and no mistake costs more than its text."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from relay.languages import CATALOGUES, LANGUAGES, SOURCE, Languages, language_called, mistakes_in
from relay.languages.catalogue import read_catalogue
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.template_checks import unused_translations
from relay.rendering.templates import built_in_notification
from relay.transports.slack.pack import pack as slack_post
from tests.templates.conftest import OwnCatalogue
from tests.templates.reading import PRAGUE, shown, told

MISSED = made_up_chats()["missed"]
ANY_LANGUAGE = "sk"
"""One that the relay does not bring along."""


def mistakes(folder: Path) -> list[str]:
    return [str(each).removeprefix(f"{folder}/_translations/") for each in mistakes_in(folder)]


# -- whose words are said ------------------------------------------------------------------------------------


def test_ones_own_translation_goes_before_the_shipped_one_and_leaves_the_rest(
    catalogue: OwnCatalogue,
) -> None:
    templates = catalogue(
        "cs", {"Missed chat: {who} waited {duration}": "Uteklo: {who}, {duration}"}
    )
    notification = told("missed", MISSED, templates, language="cs")
    shipped = told("missed", MISSED, language="cs")
    assert notification.subject == "Uteklo: Marta Nowak, 4 min"
    assert (notification.summary, notification.facts) == (shipped.summary, shipped.facts)
    assert told("missed", MISSED, templates, language="de") == told("missed", MISSED, language="de")


def test_english_can_be_put_into_other_words(catalogue: OwnCatalogue) -> None:
    templates = catalogue(
        "en", {"Missed chat: {who} waited {duration}": "{who} gave up after {duration}"}
    )
    assert told("missed", MISSED, templates).subject == "Marta Nowak gave up after 4 min"


def test_a_tag_that_is_not_shipped_is_a_new_language_and_what_is_not_translated_is_english(
    catalogue: OwnCatalogue,
) -> None:
    templates = catalogue("fr", {"Country": "Pays", "Pages visited": "Pages visitées"})
    assert templates.languages.names == (*LANGUAGES, "fr")
    notification = told("missed", MISSED, templates, language="fr")
    facts = {fact.label: fact.value for fact in notification.facts}
    assert (facts["Pays"], facts["Email"]) == ("Pologne", "marta.nowak@example.com")
    assert notification.language == "fr"
    assert '<html lang="fr" dir="ltr">' in notification.html
    assert "21 nov. 2025, 14:05" in notification.text
    assert "without an answer" in notification.text
    # What a packer says itself, in another process than templates are rendered in.
    assert "Pages visitées" in json.dumps(slack_post(notification), ensure_ascii=False)


def test_a_mail_is_written_from_right_to_left_where_the_language_is(
    catalogue: OwnCatalogue,
) -> None:
    templates = catalogue("he", {"Transcript": "תמליל"})
    html = told("missed", MISSED, templates, language="he").html
    assert '<html lang="he" dir="rtl">' in html
    assert "text-align:right" in html
    assert "text-align:left" not in html
    assert "rtl" not in told("missed", MISSED, templates, language="cs").html


def test_what_a_region_does_not_say_itself_its_language_says(catalogue: OwnCatalogue) -> None:
    templates = catalogue("de-AT", {"Yes": "Jo", "yes": "jo"})
    notification = told("missed", MISSED, templates, language="de-AT")
    assert notification.subject == told("missed", MISSED, language="de").subject
    assert notification.language == "de-AT"


def test_what_no_language_says_is_said_in_ones_own_english(catalogue: OwnCatalogue) -> None:
    catalogue("en", {"Country": "Land of origin"})
    templates = catalogue("fr", {"Note": "Remarque"})
    facts = [fact.label for fact in told("missed", MISSED, templates, language="fr").facts]
    assert "Land of origin" in facts


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (
            "",
            {0: "page", 1: "page", 2: "pages"},
        ),  # Babel's rules: French has one form for none and one
        (
            "nplurals=3; plural=(n==0 ? 0 : n==1 ? 1 : 2);",
            {0: "aucune", 1: "page", 2: "pages"},
        ),
    ],
)
def test_the_head_of_the_file_says_which_form_goes_with_a_count(
    catalogue: OwnCatalogue, tmp_path: Path, head: str, said: dict[int, str]
) -> None:
    forms = list(dict.fromkeys(said.values()))
    source = f'msgid ""\nmsgstr ""\n"Plural-Forms: {head}\\n"\n\n' if head else ""
    source += 'msgid "{count} page"\nmsgid_plural "{count} pages"\n'
    source += "".join(f'msgstr[{place}] "{{count}} {form}"\n' for place, form in enumerate(forms))
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat/summary.txt").write_text(
        "{% for n in [0, 1, 2] %}{{ ngettext('{count} page', '{count} pages', n) }} {% endfor %}"
    )
    templates = catalogue("fr", source=source)
    assert mistakes(tmp_path) == []
    expected = " ".join(f"{count} {form}" for count, form in said.items())
    assert told("chat", MISSED, templates, language="fr").summary == expected


@pytest.mark.parametrize("answer", ["Répondre à {who}", "Écrire à {who}"])
def test_the_built_in_wording_uses_them_too_as_they_were_edited_last(
    catalogue: OwnCatalogue, answer: str
) -> None:
    catalogue("fr", {"Missed chat: {who}": "Chat manqué : {who}", "Reply to {who}": answer})
    notification = built_in_notification(MISSED, rule="x", zone=PRAGUE, reason="x", language="fr")
    assert notification.subject.startswith("Chat manqué : Marta Nowak")
    assert answer.format(who="Marta Nowak") in notification.html


# -- mistakes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != SOURCE])
def test_the_shipped_catalogues_are_without_mistakes(language: str) -> None:
    assert read_catalogue(CATALOGUES / f"{language}.po", language).mistakes == ()


SUBJECT = 'msgid "Missed chat: {who} waited {duration}"\n'
PLURAL = 'msgid "{count} d"\nmsgid_plural "{count} d"\n'


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (f'{SUBJECT}msgstr "Ups {{wo}} {{duration}}"', [
            "sk.po:1: msgstr does without {who}; is that meant?",
            "sk.po:1: msgstr has {wo}, which nothing fills in; there is {who}, {duration}",
        ]),
        (f'{SUBJECT}msgstr "{{who}} čakal"', ["sk.po:1: msgstr does without {duration}; is that meant?"]),
        (f'{SUBJECT}msgstr "{{who}} {{duration"', [
            "sk.po:1: msgstr does without {duration}; is that meant?",
            "sk.po:1: msgstr has a brace that is part of no place; there is {who}, {duration}",
        ]),
        ('msgid "yes"\nmsgstr "á\0no"', ["sk.po:1: msgstr holds U+0000, which is not a character and can't be sent"]),
        ('msgid "yes"\nmsgstr "{ano}"', ["sk.po:1: msgstr has {ano}, which nothing fills in; this text has no places"]),
        (f'{PLURAL}msgstr[0] "jeden deň"\nmsgstr[1] "{{count}} dni"\n', [
            "sk.po:1: msgstr[2] is empty; there are 3 forms, and all are needed",
        ]),
        (f'{PLURAL}msgstr[0] "jeden deň"\nmsgstr[1] "{{count}} dni"\nmsgstr[2] "dní"\n', [
            "sk.po:1: msgstr[2] does without {count}; is that meant?",
        ]),
        (f'{PLURAL}msgstr[0] "x"\nmsgstr[3] "y"\n', [
            "sk.po:1: has more forms, msgstr[...], than Plural-Forms at the head of the file says",
        ]),
        ('msgid ""\nmsgstr "Plural-Forms: nplurals=2; plural=(n>1 ? 2 : 0);\\n"', [
            ("sk.po:1: Plural-Forms is 'nplurals=2; plural=(n>1 ? 2 : 0);': it counts more forms than there are; Slovak"
            " has 'nplurals=3; plural=((n==1) ? 0 : (n>=2 && n<=4) ? 1 : 2);'"),
        ]),
        ('msgid ""\nmsgstr "Plural-Forms: nplurals=2; plural=(n%0);\\n"', [
            ("sk.po:1: Plural-Forms is 'nplurals=2; plural=(n%0);': integer modulo by zero; Slovak"
            " has 'nplurals=3; plural=((n==1) ? 0 : (n>=2 && n<=4) ? 1 : 2);'"),
        ]),
        ('#, fuzzy\nmsgid "yes"\nmsgstr "ano"', [
            "sk.po:2: marked `fuzzy`, so it is not used; delete that word when the translation is right",
        ]),
        ('msgid "yes"\nmsgstr "ano"\n\nmsgid ""\n"yes"\nmsgstr "hej"', [
            "sk.po:4: this text stands on line 1 already, and that one is used",
        ]),
        ('msgctxt "menu"\nmsgid "yes"\nmsgstr "ano"', [
            "sk.po:2: has a msgctxt, which no text of the relay has, so it is never used",
        ]),
        ('msgid "yes"\nmsgstr " "', ["sk.po:1: msgstr has nothing but spaces, or a line break where the text has none"]),
        ('msgid "Note"\nmsgstr "a\\n"\n"b"', ["sk.po:1: msgstr has nothing but spaces, or a line break where the text has none"]),
        ('msgid "Note"\nmsgstr "a\\n"', ["sk.po:1: msgstr has nothing but spaces, or a line break where the text has none"]),
        ('msgid "Note"\nmsgstr "Poznámka :"', ["sk.po:1: msgstr ends with a colon; one is added where it is needed"]),
        # What is no PO at all:
        ('msgid "yes"\nmsgstr "ano\n', ['sk.po:2: a text begins and ends with a quotation mark: "..."']),
        ('msgid "yes"\nmsgstr ano\n', ['sk.po:2: a text begins and ends with a quotation mark: "..."']),
        ('msgid "yes"\nmsgstr "vraj "ano""\n', ['sk.po:2: a quotation mark within a text is written \\"']),
        ('msgid "yes"\nmsgst "ano"\n', [
            "sk.po:2: 'msgst' stands here; a line begins with msgid, msgstr, # or a quotation mark",
        ]),
        ('msgid "yes"\n\nmsgid "no"\nmsgstr "nie"\n', ["sk.po:3: msgid stands where msgstr was to come"]),
        ('msgstr "ano"\n', ["sk.po:1: msgstr stands where msgid was to come"]),
        ('msgid "yes"\n', ["sk.po:1: the file ends where msgstr was to come"]),
        ('"yes"\n', ["sk.po:1: nothing says what this text is; write msgid or msgstr before it"]),
        ('msgid ""\nmsgstr "Plural-Forms: nplurals=many; plural=n;\\n"', [
            "sk.po:1: the head of the file can't be read: invalid literal for int() with base 10: 'many'",
        ]),
        ('\nmsgid ""\nmsgstr "Plural-Forms: nplurals=999999999; plural=n;\\n"', [
            "sk.po:3: nplurals is 999999999; no language has more than 6 plural forms",
        ]),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_costs_no_notification(
    catalogue: OwnCatalogue, tmp_path: Path, source: str, expected: list[str]
) -> None:
    templates = catalogue("sk", source=source)
    assert mistakes(tmp_path) == expected
    for kind in ("missed", "badly_rated"):
        told("missed", made_up_chats()[kind], templates, language="sk")


def test_rules_for_plural_forms_that_fail_at_one_number_cost_no_notification(
    catalogue: OwnCatalogue,
) -> None:
    source = f'msgid ""\nmsgstr "Plural-Forms: nplurals=3; plural=(n/(n-500)>9);\\n"\n\n{PLURAL}'
    catalogue("sk", source=f'{source}msgstr[0] "a"\nmsgstr[1] "b"\nmsgstr[2] "c"\n')
    said = language_called("sk")
    assert said.ngettext("{count} d", "{count} d", 499, count=499) == "a"
    assert said.ngettext("{count} d", "{count} d", 500, count=500) == "500 d"


def test_an_empty_text_is_empty_in_every_language(catalogue: OwnCatalogue) -> None:
    """Gettext has the head of the file under it."""
    catalogue("fr", source='msgid ""\nmsgstr "Last-Translator: Jana\\n"\n')
    assert [language_called(tag).gettext("") for tag in ("fr", "cs")] == ["", ""]


def test_only_the_text_with_the_mistake_is_said_as_before(catalogue: OwnCatalogue) -> None:
    templates = catalogue(
        "cs", {"Missed chat: {who} waited {duration}": "{kdo} čeká", "Country": "Vlast"}
    )
    notification = told("missed", MISSED, templates, language="cs")
    assert notification.subject == told("missed", MISSED, language="cs").subject
    assert "Vlast" in [fact.label for fact in notification.facts]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("french.po", "unknown language 'french'; did you mean fr.po?"),
        ("pt_BR.po", "unknown language 'pt_BR'; did you mean pt-BR.po?"),
        ("FR.po", "unknown language 'FR'; did you mean fr.po?"),
        ("tlh.po", "unknown language 'tlh'; name it by the language's tag, such as fr or pt-BR"),
        ("und.po", "unknown language 'und'; name it by the language's tag, such as fr or pt-BR"),
        ("fr.mo", "nothing reads it; a translation file is named by its language's tag, such as fr.po"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_named_by_a_language_is_told_of(
    tmp_path: Path, name: str, expected: str
) -> None:
    (tmp_path / "_translations").mkdir()
    (tmp_path / "_translations" / name).write_text('msgid "yes"\nmsgstr "x"\n')
    assert mistakes(tmp_path) == [f"{name}: {expected}"]
    assert Languages([tmp_path]).names == LANGUAGES


def test_a_file_that_can_not_be_read_is_told_of(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "_translations").mkdir(parents=True)
    (folder / "_translations/fr.po").write_bytes(b'msgid "yes"\nmsgstr "\xff"\n')
    (folder / "_translations/it.po").mkdir()
    (folder / "_translations/pl.po").write_bytes(b"#" * 1_000_001)
    (tmp_path / "elsewhere.po").write_text('msgid "yes"\nmsgstr "tak"\n')
    os.mkfifo(folder / "_translations/ro.po")
    (folder / "_translations/uk.po").symlink_to(tmp_path / "elsewhere.po")
    assert mistakes(folder) == [
        "fr.po:2: is not UTF-8; save it as UTF-8",
        "it.po: can't be read: it is a folder, not a file",
        "pl.po: is larger than 1,000,000 bytes",
        "ro.po: can't be read: it is a named pipe, not a file",
        f"uk.po: leads out of {folder}; put the file itself here",
    ]
    spoken = Languages([folder])
    assert [spoken.called(tag).gettext("yes") for tag in ("fr", "it", "pl", "ro", "uk")] == [
        "yes"
    ] * 5


def test_a_text_that_nothing_says_is_told_of_with_the_one_that_was_meant(
    catalogue: OwnCatalogue, tmp_path: Path
) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat/subject.txt").write_text('{{ _("Order {order}", order=1) }}')
    catalogue(
        "fr", {"Order {order}": "Commande {order}", "Pages visted": "Pages", "Hello": "Salut"}
    )
    assert [str(each).rpartition("/")[2] for each in unused_translations(tmp_path)] == [
        "fr.po:4: nothing says this text; did you mean 'Pages visited'?",
        "fr.po:7: nothing says this text; `relay translate fr` writes those that are said",
    ]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text() | st.lists(st.sampled_from(
    ["msgid", "msgid_plural", "msgstr", "msgstr[0]", "msgstr[9]", "msgctxt", "#~ ", "#: a:b", "#, fuzzy", ' "{who}"', ' ""',
     ' "yes"', '"Plural-Forms: nplurals=9; plural=n*n;\\n"', '"Language: xx\\n"', '"POT-Creation-Date: now\\n"', "\n", "\r\n"]
)).map("".join))  # fmt: skip
@example('msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=none\\n"\n')
def test_whatever_stands_in_a_file_nothing_is_raised(tmp_path: Path, source: str) -> None:
    path = tmp_path / "fr.po"
    path.write_bytes(source.encode("utf-8", "surrogatepass"))
    said = read_catalogue(path, "fr").translations()
    assert isinstance(said.gettext("yes") + said.ngettext("{count} d", "{count} d", 3), str)


# -- a translation is text, in every medium --------------------------------------------------------------------

HOSTILE = st.text(st.sampled_from("<>&\"'{}\\\n%[]|`*_~ a:/;=\u202e\u2028"), min_size=1, max_size=20) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "{% raw %}", '", "type": "x', "&lt;b&gt;",
     "<@U0123456789>", "<!channel>", "<https://evil.example|x>", "[x](https://evil.example)", "</style><b>", "javascript:x"]
)  # fmt: skip


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(HOSTILE)
def test_no_translation_gets_out_of_its_place_in_a_mail_or_an_override(
    catalogue: OwnCatalogue, tmp_path: Path, said: str
) -> None:
    """Labels, headings, buttons and sentences alike; in JSON it stays within its quotes."""
    (tmp_path / "missed").mkdir(exist_ok=True)
    (tmp_path / "missed/slack.json").write_text(
        '{"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "*{{ _(\'Country\') }}*"}}]}'
    )
    own = said.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    templates = catalogue(
        "fr",
        {
            "Country": f"L{own}",
            "Missed chat": own,
            "Answer": own,
            "Transcript": own,
            "“{text}”": f"{own} {{text}}",
            "{who} waited {duration} without an answer": f"{{who}} {own} {{duration}}",
        },
    )
    notification = told("missed", MISSED, templates, language="fr")
    shown(notification.html)
    packed = templates.render(
        "missed", MISSED, rule="x", language="fr", zone=PRAGUE, transport="slack"
    ).override
    assert isinstance(packed, dict)
    (block,) = packed["blocks"]
    text = block["text"]["text"]
    assert set(block) == {"type", "text"}
    assert "<" not in text.replace("&lt;", "")
