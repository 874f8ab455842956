"""A notification speaks one language: every word that is not somebody's own is in it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from gettext import NullTranslations
from pathlib import Path

import pytest
from babel.dates import format_date, format_time
from babel.messages.catalog import Catalog
from babel.messages.catalog import Message as Entry
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.chat import Author, Chat, Message, Page, Variable, Visitor
from relay.languages import CATALOGUES, LANGUAGES, SOURCE, Language, filled, language_called
from relay.notification import Notification
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.templates import built_in_notification
from relay.rendering.translation import Words
from relay.transports.slack.pack import pack as slack_post
from relay.transports.teams.pack import pack as teams_post
from tests.templates.conftest import Written
from tests.templates.reading import NOON, PRAGUE, SHIPPED, a_talk, every_template, shown, told

ROOT = Path(__file__).parents[2]
TRANSLATED = tuple(language for language in LANGUAGES if language != SOURCE)
every_language = pytest.mark.parametrize("language", TRANSLATED)


# -- the catalogues ----------------------------------------------------------------------------------------


def catalogue(path: Path, language: str | None = None) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """What `make messages` finds in code and templates."""
    path = tmp_path_factory.mktemp("messages") / "relay.pot"
    (command,) = re.findall(
        r"\$\(PYBABEL\) (extract .*?) --output \$\(MESSAGES\) \.\n",
        (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " "),
    )
    shell = f'"{sys.executable}" -m babel.messages.frontend --quiet {command} --output "{path}" .'
    subprocess.run(shell, shell=True, cwd=ROOT, check=True)  # noqa: S602 - our own Makefile
    return catalogue(path)


def entries(catalogue: Catalog) -> Iterator[Entry]:
    return (entry for entry in catalogue if entry.id)


def forms(said: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    """A text of one form, or all that go with counts."""
    return (said,) if isinstance(said, str) else tuple(said or ())


def places(text: str) -> list[str]:
    return sorted(re.findall(r"\{\w+\}", text))


def test_there_are_catalogues_for_spanish_czech_and_german() -> None:
    assert {"en", "es", "cs", "de"} <= set(LANGUAGES)


@every_language
def test_a_catalogue_has_every_word_and_no_others(found: Catalog, language: str) -> None:
    theirs = catalogue(CATALOGUES / f"{language}.po", language)
    assert {entry.id for entry in entries(theirs)} == {entry.id for entry in entries(found)}
    assert not theirs.obsolete
    for entry in entries(theirs):
        assert not entry.fuzzy, entry.id
        said = forms(entry.string)
        assert len(said) == (theirs.num_plurals if entry.pluralizable else 1), entry.id
        assert all(said), entry.id


@every_language
def test_a_translation_has_the_same_places_and_no_stray_blanks(language: str) -> None:
    for entry in entries(catalogue(CATALOGUES / f"{language}.po", language)):
        source = forms(entry.id)[-1]
        for said in forms(entry.string):
            assert places(said) == places(source), entry.id
            assert said == " ".join(said.split()), entry.id


@every_language
def test_labels_of_facts_have_no_colon_of_their_own(language: str) -> None:
    """`Label: value` would be read from the wrong colon on."""
    say = language_called(language).gettext
    labels = ("Email", "Note", "Group", "Country", "Came from")
    assert not [label for label in labels if ":" in say(label)]


def test_text_is_english_in_a_language_without_a_catalogue() -> None:
    nobodys = language_called("tlh")
    assert nobodys.name == SOURCE
    assert nobodys.gettext("{name} joined", name="Jana") == "Jana joined"
    notification = told("missed", made_up_chats()["missed"], language="tlh")
    assert notification == told("missed", made_up_chats()["missed"])


def test_only_whole_names_are_filled_in() -> None:
    values = {"x": "{y}", "y": 1}
    assert filled("{x} {y} {z} {x.__class__} {x!r} {x:>9} {{x}} {}", values) == (
        "{y} 1 {z} {x.__class__} {x!r} {x:>9} {{y}} {}"
    )


# -- every template, every chat ----------------------------------------------------------------------------

MARK = "QX"
"""Stands for everything that people typed: no word of any language."""


def marked(chat: Chat) -> Chat:
    """The same chat with marks for what is not ours: texts, names, titles."""
    mark = f"{MARK}{MARK}"
    visitor = replace(
        chat.visitor,
        **{
            field: mark if getattr(chat.visitor, field) else ""
            for field in ("name", "note", "group", "city", "country", "platform", "referer")
        },
        email="qx@qx.qx" if "@" in chat.visitor.email else chat.visitor.email and mark,
        variables={
            key: Variable(label=mark, value=mark if isinstance(v.value, str) else v.value)
            for key, v in chat.visitor.variables.items()
        },
    )
    messages = tuple(
        replace(m, name=m.name and mark, text=m.text if m.author is Author.SYSTEM else mark)
        for m in chat.messages
    )
    return replace(
        chat,
        visitor=visitor,
        messages=messages,
        pages=tuple(Page(url="https://qx.qx/", title=page.title and mark) for page in chat.pages),
        rating_comment=chat.rating_comment and mark,
    )


def written(notification: Notification) -> str:
    """All that a reader of any medium can see."""
    parts = [notification.subject, notification.summary, notification.text, notification.attachment]
    parts += [f"{fact.label} {fact.value}" for fact in notification.facts]
    parts += [f"{m.name} {m.text} {m.gap} {m.time}" for m in notification.transcript]
    parts += [link.label for link in notification.links]
    parts += [shown(notification.html).text] if notification.html else []
    parts += texts(slack_post(notification)) + texts(json.loads(teams_post(notification)))
    return "\n".join(parts)


def texts(post: object) -> list[str]:
    if isinstance(post, dict):
        own = [v for k, v in post.items() if isinstance(v, str) and k in ("text", "title", "summary", "fallbackText")]  # fmt: skip
        return own + [text for value in post.values() for text in texts(value)]
    return [text for item in post for text in texts(item)] if isinstance(post, list) else []


def words_of(text: str) -> set[str]:
    without = re.sub(r"\{\w+\}|https?://\S+|\S+@\S+|Europe/Prague|\w+\.\w+(?:\.\w+)*", " ", text)
    return set(re.findall(r"[^\W\d_]{2,}", without.lower()))


@cache
def words_in(language: str) -> frozenset[str]:
    """Those that a notification in this language may have: its catalogue's, countries, months, and our marks."""
    said = [
        form
        for entry in entries(catalogue(CATALOGUES / f"{language}.po", language))
        for form in forms(entry.string)
    ]
    locale = language_called(language).locale
    months = locale.months["format"]["abbreviated"].values()
    marks = [MARK, MARK * 2]
    return frozenset().union(*map(words_of, [*said, *locale.territories.values(), *months, *marks]))


MAY_BE_THE_SAME = {
    "Agent", "Chat", "chat {id}", "Email", "Variable", "VIP", "VIP: {happened}", "no", "{count} chat", "{count} h", "{count} min", "{count} s",
}  # fmt: skip
"""Texts that some language has as English has them."""


@every_language
def test_a_translation_is_no_copy_of_the_english_text(language: str) -> None:
    same = {
        forms(entry.id)[0]
        for entry in entries(catalogue(CATALOGUES / f"{language}.po", language))
        if set(forms(entry.id)) & set(forms(entry.string))
    }
    assert same <= MAY_BE_THE_SAME


KINDS = tuple(kind for kind in made_up_chats() if kind != "hostile")
"""The hostile one says English words on purpose where marks can't go: its account is one."""


@every_language
@every_template
@pytest.mark.parametrize("kind", KINDS)
def test_no_word_of_a_shipped_template_stays_english_and_no_sentence_ends_twice(
    name: str, kind: str, language: str
) -> None:
    notification = SHIPPED.render(
        name, marked(made_up_chats()[kind]), rule=MARK, language=language, zone=PRAGUE
    )
    said = written(notification)
    assert words_of(said) <= words_in(language)
    # "3 Min." and a full stop are no sentence's end.
    assert not re.search(r"[^.]\.\.(?!\.)|,,|:\.", said)


@every_language
@pytest.mark.parametrize("kind", KINDS)
def test_no_word_of_the_built_in_wording_stays_english(kind: str, language: str) -> None:
    notification = built_in_notification(
        marked(made_up_chats()[kind]), rule=MARK, zone=PRAGUE, reason=MARK, template=MARK, language=language
    )  # fmt: skip
    assert notification.language == language
    # The command that fixes it is called the same in every language.
    said = written(notification).replace("`relay check`", "")
    assert words_of(said) <= words_in(language)


@pytest.mark.parametrize("word", ["missed", "Hooray"])
def test_the_comparison_would_find_an_english_word(written: Written, word: str) -> None:
    """Whether the catalogues know it or not."""
    templates = written({"chat/subject.txt": f"{word}: {{{{ visitor.called }}}}"})
    notification = told("chat", marked(made_up_chats()["missed"]), templates, language="cs")
    assert words_of(notification.subject) - words_in("cs") == {word.lower()}


# -- how each language says it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "name", "kind", "subject"),
    [
        ("cs", "missed", "missed", "Zmeškaný chat: Marta Nowak, 4 min bez odpovědi"),
        ("de", "missed", "missed", "Verpasster Chat: Marta Nowak hat 4 Min. gewartet"),
        ("es", "missed", "missed", "Chat perdido: Marta Nowak esperó 4 min"),
        ("cs", "missed", "account_and_id_only", "Zmeškaný chat: návštěvník"),
        ("de", "low_rating", "badly_rated", "Bewertung 1 von 5 Sternen: José Álvarez"),
        ("es", "offline", "offline", "Mensaje sin conexión de José Álvarez"),
        ("es", "vip", "automatic_only", "VIP: un visitante solo recibió respuestas automáticas"),
    ],
)
def test_a_subject_in_each_language(language: str, name: str, kind: str, subject: str) -> None:
    assert told(name, made_up_chats()[kind], language=language).subject == subject


@pytest.mark.parametrize(
    ("language", "left_out"),
    [
        ("en", {1: "1 message", 2: "2 messages", 5: "5 messages"}),
        ("cs", {1: "1 zpráva", 2: "2 zprávy", 4: "4 zprávy", 5: "5 zpráv", 22: "22 zpráv"}),
        ("de", {1: "1 Nachricht", 2: "2 Nachrichten", 0: "0 Nachrichten"}),
        ("es", {1: "1 mensaje", 2: "2 mensajes"}),
    ],
)
def test_a_count_has_the_form_that_goes_with_it(
    written: Written, language: str, left_out: dict[int, str]
) -> None:
    for count, words in left_out.items():
        source = f"{{{{ ngettext('{{count}} message left out', '{{count}} messages left out', {count}) }}}}"
        templates = written({"chat/summary.txt": source})
        said = told("chat", made_up_chats()["missed"], templates, language=language).summary
        assert words in said


@pytest.mark.parametrize(
    ("language", "written_as"),
    [
        ("en", "3 Nov 2025, 09:06 | 3 Nov 2025 | 09:06 | 1 d 2 h | 4 min 5 s | 4.5 of 5 stars | yes | Czechia"),
        ("cs", "3. 11. 2025 9:06 | 3. 11. 2025 | 9:06 | 1 den 2 h | 4 min 5 s | 4,5 z 5 hvězdiček | ano | Česko"),
        ("de", "03.11.2025, 09:06 | 03.11.2025 | 09:06 | 1 Tag 2 Std. | 4 Min. 5 Sek. | 4,5 von 5 Sternen | ja | Tschechien"),
        ("es", "3 nov 2025, 9:06 | 3 nov 2025 | 9:06 | 1 día 2 h | 4 min 5 s | 4,5 de 5 estrellas | sí | Chequia"),
    ],
)  # fmt: skip
def test_dates_lengths_of_time_numbers_and_countries_are_written_as_readers_write_them(
    written: Written, language: str, written_as: str
) -> None:
    templates = written(
        {
            "chat/summary.txt": "{{ chat.began|datetime }} | {{ chat.began|date }} | {{ chat.began|time }}"
            " | {{ 93780|duration }} | {{ 245|duration }} | {{ 4.5|rating }} | {{ true }} | {{ 'cz'|country }}"
        }
    )
    chat = Chat(account="1", id="2", began=datetime(2025, 11, 3, 8, 6, tzinfo=UTC))
    assert told("chat", chat, templates, language=language).summary == written_as


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("cs", ["Do chatu vstupuje Jana", "Do chatu vstupuje operátor", "agent.sang"]),
        ("de", ["Jana ist dem Chat beigetreten", "Ein Agent ist dem Chat beigetreten", "agent.sang"]),
        ("es", ["Jana se unió al chat", "Un agente se unió al chat", "agent.sang"]),
    ],
)  # fmt: skip
def test_system_codes_are_put_into_the_readers_words(language: str, said: list[str]) -> None:
    chat = a_talk(
        (0, Author.SYSTEM, "agent.join", "Jana"),
        (1, Author.SYSTEM, "agent.join"),
        (2, Author.SYSTEM, "agent.sang"),
    )
    assert [m.text for m in told("chat", chat, language=language).transcript] == said


def test_a_new_day_within_a_transcript_is_written_in_the_readers_way() -> None:
    chat = a_talk((0, Author.VISITOR, "Hi"), (60 * 60 * 12.5, Author.VISITOR, "Hi"))
    written = {"en": "23 Nov, 00:30", "cs": "23. 11. 0:30", "de": "23. Nov., 00:30", "es": "23 nov, 0:30"}  # fmt: skip
    for language, time in written.items():
        assert told("chat", chat, language=language).transcript[1].time == time


@every_language
def test_hostile_words_stay_text_in_every_language(language: str) -> None:
    hostile = "<b>{who}</b> {quote} %(who)s &amp; \u201c"
    visitor = Visitor(name=hostile, email=hostile)
    messages = (Message(author=Author.VISITOR, text=hostile, sent_at=NOON),)
    chat = Chat(account="1", id="2", missed=True, visitor=visitor, messages=messages, rating_comment=hostile)  # fmt: skip
    for name in SHIPPED.names:
        notification = told(name, chat, language=language)
        page = shown(notification.html)
        assert hostile in page.text
        assert hostile in notification.text
        assert hostile in notification.summary


@every_language
def test_the_mail_says_which_language_it_is_in(language: str) -> None:
    notification = told("missed", made_up_chats()["missed"], language=language)
    assert f'<html lang="{language}" dir="ltr">' in notification.html
    assert notification.language == language


LOCALES = [Words(Language(name, NullTranslations())) for name in ("ar", "bg", "cs", "fa", "hi", "ja", "sk", "th", "zh-TW")]  # fmt: skip
"""Languages of one's own, with clocks of 12 and of 24 hours and digits of several kinds."""


@given(
    words=st.sampled_from(LOCALES),
    moments=st.lists(st.datetimes(timezones=st.timezones()), min_size=2),
)
def test_moments_are_written_as_the_language_writes_them(
    words: Words, moments: list[datetime]
) -> None:
    locale = words.language.locale
    for moment in moments:
        assert words.clock(moment) == format_time(moment.time(), "short", locale=locale)
        assert words.day(moment) == format_date(moment, "medium", locale=locale)
        assert words.clock(moment) in words.day_and_clock(moment)
        assert words.day(moment) in words.day_and_clock(moment)
