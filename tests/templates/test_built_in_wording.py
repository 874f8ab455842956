"""When a template is broken the notification still goes, in built-in words."""

import pickle

import pytest

from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.templates import BrokenTemplate, built_in_notification
from relay.text import clean_line
from tests.templates.reading import PRAGUE, shown, told


@pytest.mark.parametrize("kind", made_up_chats())
def test_the_built_in_wording_tells_every_chat_and_that_the_template_is_broken(kind: str) -> None:
    chat = made_up_chats()[kind]
    reason = "templates/mine/body.txt:3: there is nothing called 'vistor' here"
    notification = built_in_notification(chat, rule="Night watch", zone=PRAGUE, reason=reason)
    assert notification.built_in
    assert reason in notification.text
    assert reason in shown(notification.html).text
    assert len(notification.html.encode()) <= 80_000
    assert reason in notification.summary
    assert "template" in notification.text
    assert notification.subject == clean_line(notification.subject, 200)
    assert len(notification.transcript) == len(chat.messages)
    assert len(notification.text.encode()) <= 200_000


def test_the_built_in_wording_says_who_what_and_how_to_answer() -> None:
    notification = built_in_notification(
        made_up_chats()["missed"], rule="Night watch", zone=PRAGUE, reason="it broke", template="mine"
    )  # fmt: skip
    assert notification.subject == "Missed chat: Marta Nowak (template broken)"
    assert "The template “mine” is broken" in notification.text
    assert "Waited: 4 min 5 s" in notification.text
    assert "[14:06] Marta Nowak: Anyone there? I'd like to order today" in notification.text
    assert notification.links[0].url == "mailto:marta.nowak@example.com"
    page = shown(notification.html)
    for said in (
        "Missed chat: Marta Nowak",
        "Reply to Marta Nowak",
        "Waited 4 min 5 s",
        "order today",
    ):
        assert said in page.text
    assert any(link.startswith("mailto:marta.nowak@example.com?subject=") for link in page.links)


def test_everything_can_cross_to_another_process() -> None:
    for chat in made_up_chats().values():
        notification = told("chat", chat)
        assert pickle.loads(pickle.dumps(notification)) == notification  # noqa: S301 - our own bytes
    problem = BrokenTemplate("mine", "mine/body.txt", 3, "it broke")
    copy = pickle.loads(pickle.dumps(problem))  # noqa: S301 - our own bytes
    assert (str(copy), copy.template, copy.line) == ("mine/body.txt:3: it broke", "mine", 3)
