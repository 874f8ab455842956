"""Photographs what people see: mails by light and by dark, on phone and desktop, the look-alikes of Slack and Teams, and
the lists in which mails and posts are seen first: an inbox, a phone's lock screen, Teams' activity feed.

`make pictures` runs it, and `.ci/run`. The pictures are for looking at, side by side in artefacts/pictures/index.html. What
can be told without looking ends it with a status other than 0: a picture that is blank, a page that is wider than the
screen, words too pale to be read.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from relay.alerts.alert_text import alert_notification
from relay.alerts.stored_alert import Alert
from relay.chat import Author, Chat, Message, Page, Variable, Visitor
from relay.languages import LANGUAGES
from relay.notification import Notification
from relay.preview.lookalike.slack_post import SLACK_CSS, slack_post_html
from relay.preview.lookalike.teams_card import TEAMS_CSS, teams_card_html
from relay.rendering.built_in_wording import built_in_notification
from relay.rendering.digest_wording import digest_notification
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.template_checks import made_up_digest, read_made_up
from relay.timing.digest_contents import Member
from relay.transports.slack.pack import pack as slack_post
from relay.transports.slack.pack import pack_thread
from relay.transports.teams.pack import pack as teams_post
from tests import inbox_pictures
from tests.chromium import chromium, photograph
from tests.console import pictures as console
from tests.templates.reading import PRAGUE, SHIPPED, digest, told

FOLDER = Path(__file__).parents[1] / "artefacts" / "pictures"
PHONE, DESKTOP, ROOM = 375, 1280, 600
SHOWN_OFF = (
    ("missed", "missed"),
    ("missed", "missed_after_an_answer"),
    ("low_rating", "badly_rated"),
    ("offline", "offline"),
    ("vip", "vip"),
    ("chat", "finished"),
)
"""Templates, and the made-up chats that show them off: by light and by dark, on both screens, and as posts."""
IN_EVERY_LANGUAGE = ("missed", "missed")
IN_TROUBLE = ("automatic_only", "very_long", "other_scripts", "hostile")
"""Chats that give a mail trouble: on a phone by light, on a desktop by dark."""
FROM_THE_RIGHT = {"en": ("נועה כהן", "איפה ההזמנה שלי?"), "cs": ("عمر الخطيب", "أين طلبي؟")}
MORNING = datetime(2026, 11, 24, 8, 12, tzinfo=UTC)
ALERTS = {
    "broken": Alert(
        kind="destination broken",
        subject="support-room",
        since=MORNING,
        why="Slack answered 404 no_service",
        waiting=7,
    ),
    "over": Alert(
        kind="destination broken",
        subject="support-room",
        since=MORNING,
        why="",
        waiting=7,
        over_at=MORNING + timedelta(minutes=83),
    ),
    "failed": Alert(
        kind="deliveries failed",
        subject="sales",
        since=MORNING,
        why="550 5.1.1 nobody of that name here: <b>sales@example.com</b>",
        waiting=2,
    ),
}
PAGE = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark"><style>
body {{ margin: 0; padding: 16px; background: Canvas; font: 15px/1.5 system-ui, sans-serif }}
{css}</style>{content}"""
INDEX = """<!doctype html><meta charset="utf-8"><title>What people see</title>
<style>body{{font:14px system-ui;background:#888}}figure{{display:inline-block;margin:8px;vertical-align:top}}
img{{width:300px}}</style>{figures}"""
ADVICE = (
    "No pictures: install Chromium (Debian's package is called chromium), or run .ci/run as root."
)


@dataclass(frozen=True)
class Picture:
    """Something as one reader sees it."""

    of: str
    write: Callable[[], str]
    """The page."""
    width: int
    dark: bool = False

    @property
    def name(self) -> str:
        return f"{self.of}-{self.width}-{'dark' if self.dark else 'light'}"


def in_mail(write: Callable[[], Notification]) -> str:
    return write().html


def in_slack(write: Callable[[], Notification]) -> str:
    """A webhook's post, and below it what a bot posts: a message, with its thread."""
    notification = write()
    thread = pack_thread(notification)
    posts = [slack_post(notification), *((thread.lead, *thread.replies) if thread.replies else ())]
    content = "<hr>".join(slack_post_html(post, time="09:30") for post in posts)
    return PAGE.format(css=SLACK_CSS, content=content)


def in_teams(write: Callable[[], Notification]) -> str:
    card = json.loads(teams_post(write()))
    return PAGE.format(css=TEAMS_CSS, content=teams_card_html(card, time="09:30"))


POSTS = {"slack": in_slack, "teams": in_teams}


def of_chat(template: str, chat: str, language: str = LANGUAGES[0]) -> Callable[[], Notification]:
    return lambda: told(template, made_up_chats()[chat], language=language)


def of_long_names() -> Notification:
    """Names without a blank, in every place that has one."""
    wide = "W" * 60
    chat = made_up_chats()["missed"]
    visitor = Visitor(
        name=wide, email="marta@example.com", variables={wide: Variable(label=wide, value=wide)}
    )
    said = tuple(
        Message(author=author, name=wide, text=wide, sent_at=chat.began) for author in Author
    )
    pages = (Page(url=f"https://{wide}.example.com/", title=wide),)
    return told("missed", replace(chat, visitor=visitor, messages=said, pages=pages))


def from_the_right(name: str, words: str, language: str) -> Notification:
    """A visitor whose name and words are written from right to left, in a mail that is not."""
    chat = made_up_chats()["badly_rated"]
    said = [replace(each, text=f"{words} {each.text}\n{words} 551") for each in chat.messages if each.author is Author.VISITOR]  # fmt: skip
    visitor = replace(
        chat.visitor, name=name, group=words, variables={"p": Variable(label=words, value=name)}
    )
    messages = (*said, *(each for each in chat.messages if each.author is not Author.VISITOR))
    missed = replace(
        chat, missed=True, visitor=visitor, messages=messages, rating_comment=f"{words} (551)!"
    )
    return told("low_rating", missed, language=language)


def of_alert(name: str, language: str = LANGUAGES[0]) -> Callable[[], Notification]:
    return partial(
        alert_notification, ALERTS[name], zone=PRAGUE, language=language, to="admin", bodies=True
    )


def of_digest(language: str = LANGUAGES[0], *, late: bool = False) -> Callable[[], Notification]:
    return partial(digest, language, late=late)


def of_digest_from_the_right(name: str, words: str, language: str) -> Notification:
    """Chats whose visitors' names and words are written from right to left, in a digest that is not."""
    made = made_up_digest()

    def read(member: Member) -> Chat:
        chat = read_made_up(member)
        said = [replace(each, text=f"{words} {each.text}") for each in chat.messages]
        visitor = replace(chat.visitor, name=name)
        comment = f"{words} (551)!" if chat.rating_comment else ""
        return replace(chat, visitor=visitor, messages=tuple(said), rating_comment=comment)

    return digest_notification(SHIPPED, made, language=language, zone=PRAGUE, read=read)


def of_a_broken_template(chat: str) -> Callable[[], Notification]:
    return partial(
        built_in_notification,
        made_up_chats()[chat],
        rule="Night watch",
        zone=PRAGUE,
        reason="missed/subject.txt:1: unexpected '}'",
        template="missed",
    )


def everywhere(name: str, write: Callable[[], Notification]) -> Iterator[Picture]:
    for width in (PHONE, DESKTOP):
        for dark in (False, True):
            yield Picture(f"mail-{name}", partial(in_mail, write), width, dark=dark)
    for medium, look in POSTS.items():
        yield Picture(f"{medium}-{name}", partial(look, write), ROOM)


def pictures() -> Iterator[Picture]:
    for template, chat in SHOWN_OFF:
        yield from everywhere(f"{template}-{chat}", of_chat(template, chat))
    yield from everywhere("alert-broken", of_alert("broken"))
    yield from everywhere("digest", of_digest())
    yield from everywhere("digest-late", of_digest(late=True))
    for medium, look in POSTS.items():
        yield Picture(
            f"{medium}-missed", partial(look, of_chat("missed", "missed")), ROOM, dark=True
        )
    yield from in_every_language()
    for chat in IN_TROUBLE:
        write = of_chat("chat", chat)
        yield Picture(f"mail-chat-{chat}", partial(in_mail, write), PHONE)
        yield Picture(f"mail-chat-{chat}", partial(in_mail, write), DESKTOP, dark=True)
        for medium, look in POSTS.items():
            yield Picture(f"{medium}-chat-{chat}", partial(look, write), ROOM)
    for name in ("over", "failed"):
        yield Picture(f"mail-alert-{name}", partial(in_mail, of_alert(name)), PHONE)
    yield Picture("mail-long-names", partial(in_mail, of_long_names), PHONE)
    yield Picture("mail-long-names", partial(in_mail, of_long_names), DESKTOP)
    for language, (name, words) in FROM_THE_RIGHT.items():
        write = partial(from_the_right, name, words, language)
        yield Picture(f"mail-from-the-right-{language}", partial(in_mail, write), PHONE)
        yield Picture(f"mail-from-the-right-{language}", partial(in_mail, write), DESKTOP)
        write = partial(of_digest_from_the_right, name, words, language)
        for medium, look in {"mail": in_mail, **POSTS}.items():
            width = PHONE if medium == "mail" else ROOM
            yield Picture(f"{medium}-digest-from-the-right-{language}", partial(look, write), width)
    broken = partial(in_mail, of_a_broken_template("missed"))
    yield Picture("mail-broken-template", broken, PHONE)
    yield Picture("mail-broken-template", broken, DESKTOP, dark=True)
    yield from lists()


def in_every_language() -> Iterator[Picture]:
    for language in LANGUAGES[1:]:
        write = of_chat(*IN_EVERY_LANGUAGE, language)
        yield Picture(f"mail-missed-{language}", partial(in_mail, write), PHONE)
        yield Picture(f"slack-missed-{language}", partial(in_slack, write), ROOM)
        for medium, look in {"mail": in_mail, **POSTS}.items():
            width = PHONE if medium == "mail" else ROOM
            yield Picture(f"{medium}-digest-{language}", partial(look, of_digest(language)), width)
        alert = of_alert("broken", language)
        yield Picture(f"mail-alert-broken-{language}", partial(in_mail, alert), PHONE)


def lists() -> Iterator[Picture]:
    """Where everything is seen first, with its neighbours."""
    yield Picture("inbox", partial(inbox_pictures.inbox, eight), DESKTOP)
    yield Picture("inbox", partial(inbox_pictures.inbox, eight), PHONE, dark=True)
    yield Picture("lock-screen", partial(inbox_pictures.lock_screen, eight), PHONE)
    yield Picture("activity", partial(inbox_pictures.activity, eight), PHONE)


def eight() -> list[Notification]:
    writes = [of_chat(template, chat) for template, chat in SHOWN_OFF]
    writes += [of_chat("chat", "automatic_only"), of_alert("broken")]
    return [write() for write in writes]


def wrong_with(program: str, picture: Picture) -> list[str]:
    try:
        _, wrong = photograph(
            program,
            picture.write(),
            FOLDER / f"{picture.name}.png",
            width=picture.width,
            dark=picture.dark,
        )
    except (subprocess.SubprocessError, OSError) as error:
        wrong = [f"no picture: {error}"]
    return [f"{picture.name}: {what}" for what in wrong]


def main() -> None:
    program = chromium()
    if program is None:
        sys.exit(ADVICE)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    wanted = list(pictures())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda picture: wrong_with(program, picture), wanted)
        wrong = [what for about_one in found for what in about_one]
    of_console, wrong_there = console.take(FOLDER)
    names, wrong = [*(picture.name for picture in wanted), *of_console], [*wrong, *wrong_there]
    figures = "".join(
        f'<figure><figcaption>{name}</figcaption><img src="{name}.png"></figure>\n'
        for name in names
    )
    (FOLDER / "index.html").write_text(INDEX.format(figures=figures), encoding="utf-8")
    sys.stdout.write(f"{len(names)} pictures: {FOLDER / 'index.html'}\n")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
