"""A user's own templates: file by file, with filters that write what the manual says."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from relay.chat import Chat, Variable, Visitor
from relay.notification import Fact
from relay.rendering.made_up_chats import made_up_chats
from tests.templates.conftest import Written
from tests.templates.reading import SHIPPED, shown, told


def test_a_users_file_replaces_the_shipped_one_and_leaves_the_rest(written: Written) -> None:
    templates = written({"missed/subject.txt": "Verpasst: {{ visitor.name }}\n"})
    ours, theirs = (told("missed", made_up_chats()["missed"], t) for t in (SHIPPED, templates))
    assert theirs.subject == "Verpasst: Marta Nowak"
    assert replace(theirs, subject=ours.subject, html=ours.html) == ours


def test_facts_are_written_once_and_told_in_every_part(written: Written) -> None:
    facts = "Cart: {{ visitor.variables.cartValue }}\nOwner: {{ visitor.variables.owner }}\n\nIP: {{ visitor.ip }}\n"
    notification = told("missed", made_up_chats()["missed"], written({"chat/facts.txt": facts}))
    assert notification.facts == (
        Fact(label="Cart", value="1290"),
        Fact(label="IP", value="192.0.2.17"),
    )
    assert "Cart: 1290\nIP: 192.0.2.17\n" in notification.text
    assert "Cart 1290 IP 192.0.2.17" in shown(notification.html).text


@pytest.mark.parametrize("template", SHIPPED.names)
def test_a_fact_that_is_added_to_chat_is_told_by_every_template(
    written: Written, template: str
) -> None:
    shipped = (Path(__file__).parents[2] / "templates/chat/facts.txt").read_text("utf-8")
    templates = written({"chat/facts.txt": shipped + "Cart: {{ visitor.variables.cartValue }}\n"})
    chat = made_up_chats()["missed"]
    added = told(template, chat, templates).facts
    assert added[-1] == Fact(label="Cart", value="1290")
    assert added[:-1] == told(template, chat).facts


def test_the_note_of_a_vip_leads_and_is_no_fact(written: Written) -> None:
    chat = made_up_chats()["vip"]
    assert chat.visitor.note
    labels = [[fact.label for fact in told(name, chat).facts] for name in ("vip", "chat")]
    assert ["Note" in each for each in labels] == [False, True]


def test_a_template_with_one_file_takes_the_others_from_chat(written: Written) -> None:
    templates = written({"complaint/subject.txt": "Complaint of {{ visitor.called }}"})
    assert "complaint" in templates.names
    chat = made_up_chats()["badly_rated"]
    notification = told("complaint", chat, templates)
    assert notification.subject == "Complaint of José Álvarez"
    assert notification.text == told("chat", chat).text


def test_a_users_part_reaches_the_shipped_templates(written: Written) -> None:
    templates = written({"_parts/facts.txt": "City: {{ visitor.city }}\n"})
    assert (
        Fact(label="City", value="Kraków")
        in told("missed", made_up_chats()["missed"], templates).facts
    )


def test_a_thousand_empty_values_in_a_row_hide_nothing_that_follows(written: Written) -> None:
    templates = written({"chat/summary.txt": "{{ chat.rating }}" * 1_000 + "the end"})
    assert told("chat", made_up_chats()["missed"], templates).summary == "the end"


def test_a_variable_is_found_before_any_method_of_a_mapping(written: Written) -> None:
    variables = {"items": Variable(label="Items", value="three shoes")}
    chat = Chat(account="1", id="2", visitor=Visitor(variables=variables))
    source = "{{ visitor.variables.items }}|{{ visitor.variables['items'] }}|{{ visitor.variables.keys }}|"
    assert (
        told("chat", chat, written({"chat/summary.txt": source})).summary
        == "three shoes|three shoes||"
    )


@pytest.mark.parametrize(
    ("source", "shown_as"),
    [
        ("{{ chat.rating }}|{{ chat.missed }}|{{ chat.offline }}|{{ chat.waited }}", "|yes|no|245"),
        ("{{ chat.waited|duration }}, {{ chat.waited|duration(1) }}", "4 min 5 s, 4 min"),
        ("{{ 3661|duration }} {{ 59|duration }} {{ 0|duration }} {{ 90061|duration }}", "1 h 1 min 59 s 0 s 1 d 1 h"),
        ("{{ ngettext('{count} reply', '{count} replies', 1) }} {{ ngettext('{count} reply', '{count} replies', 2) }}", "1 reply 2 replies"),
        ("{{ _('{who} wrote {n}', who=visitor.name, n=4.5) }} {{ _('{who} {x}', who='{x}') }} {{ _('100 %') }}", "Marta Nowak wrote 4.5 {x} {x} 100 %"),
        ("{{ 'PL'|country }} {{ 'pl'|country }} {{ 'XX'|country }} {{ none|country }} {{ '001'|country }}", "Poland Poland XX 001"),
        ("{{ 4.5|rating }} {{ 2|stars }} {{ 11|rating }}{{ 11|stars }}", "4.5 of 5 stars ★★☆☆☆ 11"),
        ("{{ chat.began|datetime }} / {{ chat.began|date }} / {{ chat.began|time }}", "21 Nov 2025, 14:05 / 21 Nov 2025 / 14:05"),
        ("{{ visitor.referer|host }} {{ 'nonsense'|host }}", "www.example.org"),
        ("{{ 'a b c d'|cut(4) }} {{ 'élan'|sentence }}", "a b… Élan"),
        ("{{ 'a' ~ 1 ~ none ~ true }} {{ [1, 2]|join(', ') }}", "a1yes 1, 2"),
        ("{{ 1 + 2 }} {{ 7 // 2 }} {{ 'a' + 'b' }} {{ 2 ** 5 }}", "3 3 ab 32"),
    ],
)  # fmt: skip
def test_filters_and_operators_write_what_the_manual_says(
    written: Written, source: str, shown_as: str
) -> None:
    templates = written({"chat/summary.txt": source})
    assert told("chat", made_up_chats()["missed"], templates).summary == shown_as
