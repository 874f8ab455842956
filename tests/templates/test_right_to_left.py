"""Names and words that run from right to left turn nothing around them, in whatever language the rest is."""

import json
import re
import unicodedata

import pytest
from msgspec.structs import replace

from relay.chat import Author, Chat, Page, Variable, Visitor
from relay.rendering.built_in_wording import built_in_notification, mark_as_fallback
from relay.transports.slack.pack import pack as slack_post
from relay.transports.slack.pack import pack_thread
from relay.transports.teams.pack import pack as teams_post
from tests.templates.conftest import OwnCatalogue, Written
from tests.templates.reading import NOON, PRAGUE, a_talk, every_template, told
from tests.transports.web_bench import texts

NOA, OMAR = "נועה (כהן)", "عمر 12"
_ISOLATED = re.compile("\u2068[^\u2068\u2069\n]*\u2069")
_BDI = re.compile("<bdi>[^<>]*</bdi>")


def loose(text: str, *directions: str) -> str:
    """The letters of these directions that no isolate keeps apart from the words around them."""
    outside = _ISOLATED.sub("", text)
    assert not {"\u2068", "\u2069"} & set(outside), "isolates that are not closed, or nested"
    return "".join(
        c for c in outside if unicodedata.bidirectional(c) in (directions or ("R", "AL"))
    )


def from_the_right(**changes: object) -> Chat:
    chat = a_talk(
        (0, Author.VISITOR, f"שלום, {OMAR}?\nעוד שורה"),
        (10, Author.AGENT, "مرحبا", OMAR),
        (20, Author.SYSTEM, "agent.leave", OMAR),
        (30, Author.AGENT, "Hello", "Jana"),
        (40, Author.VISITOR, "?אפשר"),
    )
    visitor = Visitor(
        name=NOA,
        note="לקוחה: ותיקה",
        group="מכירות",
        variables={"plan": Variable(label="תוכנית", value="זהב 3")},
    )
    pages = (Page(url="https://shop.example/", title="בית"),)
    return replace(chat, visitor=visitor, pages=pages, ended=NOON, **changes)


KINDS = pytest.mark.parametrize(
    "changes",
    [{}, {"missed": True}, {"offline": True}, {"rating": 1, "rating_comment": "לא טוב!"}],
)


@every_template
@KINDS
@pytest.mark.parametrize("language", ["en", "cs"])
def test_every_line_keeps_the_order_of_its_words(
    name: str, changes: dict[str, object], language: str
) -> None:
    made = told(name, from_the_right(**changes), language=language)
    for line in (made.subject, made.summary, made.footer, made.text):
        assert not loose(line)
    assert all(not loose(link.label) or link.visited for link in made.links)
    assert all(not loose(m.text) for m in made.transcript if m.author is Author.SYSTEM)


def test_facts_are_what_somebody_typed_and_nothing_else() -> None:
    facts = {fact.label: fact.value for fact in told("chat", from_the_right()).facts}
    assert facts["תוכנית"] == "זהב 3"


def test_who_writes_from_left_to_right_is_not_set_off() -> None:
    chat = replace(
        from_the_right(), visitor=Visitor(name="Zoë Дмитрий 花子"), messages=(), pages=()
    )
    made = told("chat", chat)
    assert "\u2068" not in made.subject + made.summary + made.text
    assert "<bdi>" not in made.html


def test_a_name_that_is_cut_ends_what_sets_it_off() -> None:
    chat = replace(from_the_right(missed=True), visitor=Visitor(name="נועה " * 100))
    made = told("chat", chat)
    assert not loose(made.subject)
    assert not loose(mark_as_fallback(made, "צוות", "en").subject)


@KINDS
def test_the_built_in_wording_does_so_too(changes: dict[str, object]) -> None:
    made = built_in_notification(from_the_right(**changes), rule=NOA, zone=PRAGUE, reason=OMAR)
    assert not loose(made.subject)
    assert not loose(made.summary)


def test_in_html_it_is_an_element_but_not_within_a_tag(written: Written) -> None:
    source = '<a title="{{ visitor.name }}" href="https://crm.example/?q={{ visitor.name }}">{{ visitor.name }}</a>'
    html = told("chat", from_the_right(), written({"chat/body.html": source})).html.strip()
    assert html == f'<a title="{NOA}" href="https://crm.example/?q={NOA}"><bdi>{NOA}</bdi></a>'


def test_an_address_that_a_template_writes_holds_the_value_alone(written: Written) -> None:
    source = "{{ visitor.name }}: https://crm.example/?q={{ visitor.group }}&v=1\n"
    text = told("chat", from_the_right(), written({"chat/body.txt": source})).text
    assert text == f"\u2068{NOA}\u2069: https://crm.example/?q=מכירות&v=1\n"


def test_in_a_language_from_the_right_those_from_the_left_are_set_off(
    catalogue: OwnCatalogue,
) -> None:
    templates = catalogue("he", {"Missed chat: {who}": "צ׳אט שלא נענה: {who}"})
    chat = replace(
        from_the_right(), visitor=Visitor(name="Marta (VIP) 5"), missed=True, messages=()
    )
    assert told("missed", chat, templates, language="he").subject == (
        "צ׳אט שלא נענה: \u2068Marta (VIP) 5\u2069"
    )


def test_of_several_names_each_is_set_off_by_itself() -> None:
    agents = ((0, Author.AGENT, "Hi", "Jana"), (1, Author.AGENT, "Hi", "נועה"), (2, Author.AGENT, "Hi", "Petr"))  # fmt: skip
    assert "Jana, \u2068נועה\u2069, Petr" in told("chat", a_talk(*agents)).summary


@KINDS
def test_in_posts_time_name_and_text_keep_their_places(changes: dict[str, object]) -> None:
    made = told("chat", from_the_right(**changes))
    assert not loose("\n".join(texts(slack_post(made))))
    thread = pack_thread(made)
    assert not loose("\n".join(texts([thread.lead, *thread.replies])))
    assert not loose("\n".join(texts(json.loads(teams_post(made)))))
