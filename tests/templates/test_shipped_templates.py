"""The shipped templates say who, what and how bad, for every kind of chat."""

import re
from pathlib import Path
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from relay.chat import Author, Chat, Page, Variable, Visitor
from relay.files import shipped
from relay.languages import LANGUAGES
from relay.mail_address import visitor_address
from relay.notification import Notification, Tone
from relay.rendering.made_up_chats import MARTA, made_up_chats
from relay.rendering.templates import Templates
from relay.text import clean_line, tidy_line
from tests.templates.conftest import Written
from tests.templates.reading import SHIPPED, a_talk, every_template, shown, told


def test_five_templates_are_shipped() -> None:
    assert SHIPPED.names == ("chat", "low_rating", "missed", "offline", "vip")


@every_template
def test_a_shipped_template_has_words_for_every_chat(name: str) -> None:
    assert SHIPPED.check(name) == []


@every_template
@pytest.mark.parametrize("kind", made_up_chats())
def test_every_mail_is_well_formed_and_within_its_limits(name: str, kind: str) -> None:
    chat = made_up_chats()[kind]
    notification = told(name, chat)
    assert len(notification.html.encode()) < 80_000
    assert len(notification.text.encode()) <= 200_000
    assert notification.subject == tidy_line(notification.subject, 200)
    assert notification.summary == tidy_line(notification.summary, 1000)
    assert len(notification.transcript) == len(chat.messages)
    assert all(fact.label and fact.value for fact in notification.facts)
    assert clean_line(notification.subject) in shown(notification.html).text


@every_template
def test_the_same_chat_is_always_told_the_same(name: str) -> None:
    chat = made_up_chats()["missed"]
    assert told(name, chat) == told(name, chat, Templates(shipped("templates")))


@pytest.mark.parametrize(
    ("name", "kind", "subject"),
    [
        ("missed", "missed", "Missed chat: Marta Nowak waited 4 min"),
        ("missed", "missed_after_an_answer", "Missed chat: Marta Nowak waited 1 h 6 min"),
        ("missed", "account_and_id_only", "Missed chat: a visitor"),
        ("low_rating", "badly_rated", "Rated 1 of 5 stars: José Álvarez"),
        ("offline", "offline", "Offline message from José Álvarez"),
        ("offline", "no_visitor_name", "Offline message from someone@example.com"),
        ("vip", "missed", "VIP: Marta Nowak waited 4 min without an answer"),
        ("chat", "missed", "Missed chat: Marta Nowak waited 4 min"),
        ("chat", "finished", "Chat with Marta Nowak, rated 5 of 5 stars"),
    ],
)
def test_the_subject_says_who_and_how_bad(name: str, kind: str, subject: str) -> None:
    assert told(name, made_up_chats()[kind]).subject == subject


@pytest.mark.parametrize(
    ("facts", "label"),
    [
        ("{{ _('Email') }}: {{ visitor.email }}\n", "Reply to Marta Nowak"),
        ("Plan: basic\n", "Reply to marta.nowak@example.com"),
    ],
)
def test_the_link_to_answer_says_the_name_where_a_fact_has_the_address(
    tmp_path: Path, facts: str, label: str
) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "facts.txt").write_text(facts, encoding="utf-8")
    templates = Templates(tmp_path, shipped("templates"))
    notification = told("missed", made_up_chats()["missed"], templates)
    assert (notification.links[0].label, notification.links[0].url) == (
        label,
        "mailto:marta.nowak@example.com",
    )


def test_the_footer_says_when_it_was_and_which_rule_asked() -> None:
    assert told("low_rating", made_up_chats()["badly_rated"]).footer == (
        "21 Nov 2025, 14:05 · lasted 13 min 20 s · first answer after 3 min"
        " · rule “Night watch” · chat 208/910102"
    )


def test_a_footer_of_ones_own_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "footer.txt").write_text("", encoding="utf-8")
    templates = Templates(tmp_path, shipped("templates"))
    assert told("vip", made_up_chats()["vip"], templates).footer == ""


def test_the_summary_of_a_missed_chat_asks_the_unanswered_question_and_not_the_greeting() -> None:
    summary = told("missed", made_up_chats()["missed_after_an_answer"]).summary
    assert summary == "“Can I return shoes that I bought in your shop in Brno?”"


@pytest.mark.parametrize(
    ("missed", "rating", "tone"),
    [
        (True, None, Tone.BAD),
        (True, 5, Tone.BAD),
        (False, 1, Tone.BAD),
        (False, 2, Tone.BAD),
        (False, 3, Tone.NEUTRAL),
        (None, 4, Tone.GOOD),
        (False, 4.5, Tone.GOOD),
        (None, None, Tone.NEUTRAL),
    ],
)
def test_the_tone_follows_from_rating_and_miss(
    missed: bool | None, rating: float | None, tone: Tone
) -> None:
    assert told("chat", Chat(account="1", id="2", missed=missed, rating=rating)).tone is tone


@every_template
@pytest.mark.parametrize(
    "typed",
    ["marta@example.com", " m@example.com", "", "marta at example", "a@localhost", "a@b.test", "a@x.org, b@x.org",
     "josé@example.com", "user@münchen.de", '"a b"@example.com', "<a@example.com>", "a" * 400 + "@example.com"],
)  # fmt: skip
def test_a_reply_is_promised_exactly_where_the_mail_will_have_a_reply_address(
    name: str, typed: str
) -> None:
    chat = replace(made_up_chats()["missed"], visitor=replace(MARTA, email=clean_line(typed)))
    notification = told(name, chat)
    address = visitor_address(chat.visitor.email)
    for part in (shown(notification.html).text, notification.text):
        promised = "reply to this email" in part.lower()
        assert promised == bool(address)
        assert not address or address in part
    assert any(link.url.startswith("mailto:") for link in notification.links) == bool(address)


@every_template
@pytest.mark.parametrize(
    ("reply_to", "says", "warns"),
    [
        ("visitor", "reply to this email goes to marta.nowak@example.com", True),
        ("support@example.com", "reply to this email goes to support@example.com", False),
        ("nobody", "reply to this email does not reach the visitor", False),
    ],
)
def test_a_mail_says_where_a_reply_goes_and_what_it_would_quote(
    name: str, reply_to: str, says: str, warns: bool
) -> None:
    notification = SHIPPED.render(
        name,
        made_up_chats()["missed"],
        rule="Night watch",
        language="en",
        zone=ZoneInfo("UTC"),
        reply_to=reply_to,
    )
    for part in (shown(notification.html).text, notification.text):
        words = " ".join(part.split())
        assert says in words
        assert ("delete the quoted text first" in words) == warns


@pytest.mark.parametrize("name", ["missed", "vip"])
def test_the_button_begins_a_mail_with_a_subject_and_the_question_and_nothing_else(
    name: str,
) -> None:
    notification = told(name, made_up_chats()["missed"])
    (link,) = [link for link in shown(notification.html).links if link.startswith("mailto:")]
    address, _, query = link.removeprefix("mailto:").partition("?")
    assert address == "marta.nowak@example.com"
    assert parse_qs(query) == {
        "subject": ["Your message to us"],
        "body": ["\r\n\r\n> Hi, do you have the green shoes in size 42?"],
    }


@pytest.mark.parametrize(
    "question", ["ž" * 5_000, "a&b=c#d?e\nBcc: x@example.com", '"><script>', "👍🏽" * 900]
)
def test_no_question_breaks_out_of_the_button(question: str) -> None:
    chat = made_up_chats()["missed"]
    message = replace(chat.messages[0], text=question, author=Author.VISITOR)
    asked = replace(chat, messages=(message,))
    notification = told("missed", asked)
    (link,) = [link for link in shown(notification.html).links if link.startswith("mailto:")]
    assert len(link) < 900
    assert set(parse_qs(link.partition("?")[2])) == {"subject", "body"}


@pytest.mark.parametrize(
    ("name", "kind", "begins"),
    [
        ("missed", "missed", "Hi, do you have the green shoes"),
        ("missed", "missed_after_an_answer", "Can I return shoes"),
        ("low_rating", "badly_rated", "Waited ages and got no answer"),
        ("offline", "offline", "Buenos días"),
        ("chat", "automatic_only", "How much is delivery to Ireland?"),
        ("chat", "account_and_id_only", "A visitor opened a chat."),
    ],
)
def test_what_a_mailbox_shows_beside_the_subject_are_the_visitors_words(
    name: str, kind: str, begins: str
) -> None:
    notification = told(name, made_up_chats()[kind])
    first_text = shown(notification.html).text.removeprefix(clean_line(notification.subject))
    assert first_text.strip().startswith(begins)


def in_a_mail(notification: Notification) -> tuple[str, str]:
    """What the HTML shows below its title and preheader, and the text part."""
    return shown(notification.html).text.partition("\u200c ")[2], notification.text


@every_template
@pytest.mark.parametrize("kind", ["badly_rated", "finished", "vip"])
def test_a_mail_says_a_rating_once_in_words_and_once_as_stars(name: str, kind: str) -> None:
    rating = int(made_up_chats()[kind].rating or 0)
    for part in in_a_mail(told(name, made_up_chats()[kind])):
        assert (
            part.count(f"{rating} of 5 stars") == part.count("★" * rating + "☆" * (5 - rating)) == 1
        )


@every_template
@pytest.mark.parametrize("kind", ["missed", "offline"])
def test_a_rating_is_said_once_where_the_heading_says_something_else(name: str, kind: str) -> None:
    chat = replace(made_up_chats()[kind], rating=2, rating_comment="Nobody there")
    for part in in_a_mail(told(name, chat)):
        assert [part.count(said) for said in ("2 of 5 stars ★★☆☆☆", "Nobody there")] == [1, 1]


def test_a_heading_of_ones_own_does_not_hide_the_rating(written: Written) -> None:
    heading = "{% block heading %}Complaint{% endblock %}"
    own = {f"chat/body.{kind}": f'{{% extends "_parts/mail.{kind}" %}}{heading}' for kind in ("html", "txt")}  # fmt: skip
    for part in in_a_mail(told("chat", made_up_chats()["badly_rated"], written(own))):
        assert part.count("1 of 5 stars ★☆☆☆☆") == 1


@every_template
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("visitor", ["Marta", "Jana Nowak"])
@pytest.mark.parametrize("chat", [Chat(account="1", id="2"), Chat(account="1", id="2", rating=1)])
def test_the_agent_is_named_once_above_a_mails_transcript_and_in_a_post(
    name: str, language: str, visitor: str, chat: Chat
) -> None:
    said = a_talk((0, Author.VISITOR, "Hello?"), (20, Author.AGENT, "Hi", "Jana")).messages
    talk = replace(chat, messages=said, visitor=Visitor(name=visitor))
    notification = told(name, talk, language=language)
    text, who = notification.text.partition("---")[0], visitor.count("Jana")
    assert text.count("Jana") - text.count(visitor) * who == 1
    post = f"{notification.subject} {notification.summary} {notification.footer}"
    assert post.count("Jana") - post.count(visitor) * who == 1


@every_template
@pytest.mark.parametrize("kind", made_up_chats())
def test_a_mails_heading_says_a_wait_as_its_subject_does(name: str, kind: str) -> None:
    chat = made_up_chats()[kind]
    notification = told(name, chat)
    if chat.missed and (
        waited := re.search(r"waited ([\w ]+?)(?: without|$)", notification.subject)
    ):
        for part in in_a_mail(notification):
            assert f"waited {waited[1]} without an answer" in part.replace("\xa0", " ")


@every_template
def test_a_long_question_is_quoted_in_part_as_the_transcript_has_it(name: str) -> None:
    question = "Where is my order? " * 80
    chat = replace(made_up_chats()["missed"], messages=a_talk((0, Author.VISITOR, question)).messages)  # fmt: skip
    for part in in_a_mail(told(name, chat)):
        assert part.count("Where is my order? " * 60) == 1
        above = part.partition("Transcript")[0]
        assert "unanswered" not in above or 380 < above.count("Where is my order?") * 19 <= 420


@every_template
@pytest.mark.parametrize("kind", made_up_chats())
def test_a_long_name_is_cut_wherever_it_stands_in_a_sentence(name: str, kind: str) -> None:
    chat = made_up_chats()[kind]
    long = replace(chat, visitor=replace(chat.visitor, name="Wolfeschlegelstein" * 10))
    notification = told(name, long)
    assert len(notification.subject) < 120
    parts = [*in_a_mail(notification), notification.subject, notification.summary]
    assert not any(("Wolfeschlegelstein" * 4) in part for part in parts)


@every_template
def test_a_subject_of_many_long_names_is_short(name: str) -> None:
    names = (f"Wolfeschlegelstein {n} Hausenbergerdorff" for n in range(9))
    said = [(0, Author.VISITOR, "Hi"), *((1, Author.AGENT, "Hi", each) for each in names)]
    chat = replace(a_talk(*said), visitor=Visitor(name="Wolfeschlegelstein " * 9))  # type: ignore[arg-type]
    assert len(told(name, chat).subject) <= 140


@every_template
def test_pages_come_in_one_order_the_latest_first(name: str) -> None:
    pages = tuple(Page(url=f"https://shop.example.com/{n}", title=f"Page {n}") for n in range(12))
    notification = told(name, replace(made_up_chats()["missed"], pages=pages))
    latest = [f"Page {n}" for n in range(11, 3, -1)]
    assert [link.label for link in notification.links if link.visited] == latest
    for part in in_a_mail(notification):
        assert re.findall(r"Page \d+", part) == latest
        assert part.index("4 earlier pages left out") > part.index("Page 4")


@every_template
def test_a_mail_counts_the_facts_for_which_it_has_no_room(name: str) -> None:
    values = {str(n): Variable(label=f"Label {n}", value=n) for n in range(40)}
    visitor = replace(MARTA, group="VIP customers", variables=values)
    notification = told(name, replace(made_up_chats()["missed"], visitor=visitor))
    for part in in_a_mail(notification):
        assert part.index("VIP customers") < part.index("Label 0")
        assert re.findall(r"\d+ more left out", part) == [f"{notification.facts_left_out} more left out"]  # fmt: skip
    assert notification.facts_left_out + len(notification.facts) >= 40


def test_an_offline_message_comes_before_what_a_reply_does() -> None:
    for part in in_a_mail(told("offline", made_up_chats()["offline"])):
        assert part.index("40 sillas") < part.lower().index("reply to this email")


def test_of_many_facts_ours_come_first_and_the_rest_is_counted() -> None:
    visitor = Visitor(
        email="marta@example.com",
        group="sales",
        country_code="PL",
        referer="https://www.example.org/",
        variables={f"v{n}": Variable(label=f"V{n}", value=n) for n in range(140)},
    )
    made = told("chat", Chat(account="1", id="2", visitor=visitor))
    assert [f.label for f in made.facts[:5]] == ["Email", "Group", "Country", "Came from", "V0"]
    assert len(made.facts) + made.facts_left_out == 4 + 140


def test_variables_that_a_template_does_not_show_are_not_missed(written: Written) -> None:
    variables = {f"v{n}": Variable(label=f"V{n}", value=n) for n in range(140)}
    templates = written({"chat/facts.txt": "Plan: {{ visitor.variables.v3 }}\n"})
    made = told("chat", Chat(account="1", id="2", visitor=Visitor(variables=variables)), templates)
    assert (len(made.facts), made.facts_left_out) == (1, 0)
