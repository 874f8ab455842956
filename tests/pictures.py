"""Photographs what people see: mails by light and by dark, on phone and desktop, and the look-alikes of Slack and Teams.

`make pictures` runs it, and `.ci/run`. The pictures are for looking at, side by side in artefacts/pictures/index.html. What
can be told without looking ends it with a status other than 0: a picture that is blank, a page that is wider than the
screen, words too pale to be read.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from relay.languages import LANGUAGES
from relay.lookalike.slack import SLACK_CSS, slack_post_html
from relay.lookalike.teams import TEAMS_CSS, teams_card_html
from relay.made_up import made_up_chats
from relay.notification import Notification
from relay.transports.slack.pack import pack as slack_post
from relay.transports.slack.pack import pack_thread
from relay.transports.teams.pack import pack as teams_post
from tests.chromium import chromium, photograph
from tests.templates.reading import told

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
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; padding: 16px; background: #fff; font: 15px/1.5 system-ui, sans-serif }}
{css}</style>{content}"""
INDEX = """<!doctype html><meta charset="utf-8"><title>What people see</title>
<style>body{{font:14px system-ui;background:#888}}figure{{display:inline-block;margin:8px;vertical-align:top}}
img{{width:300px}}</style>{figures}"""
ADVICE = (
    "No pictures: install Chromium (Debian's package is called chromium), or run .ci/run as root."
)


@dataclass(frozen=True)
class Picture:
    """One notification as one reader sees it."""

    template: str
    chat: str
    width: int
    dark: bool = False
    language: str = LANGUAGES[0]
    medium: str = "mail"

    @property
    def name(self) -> str:
        light = "dark" if self.dark else "light"
        words = (self.medium, self.template, self.chat, self.language, str(self.width), light)
        return "-".join(words)

    @cached_property
    def page(self) -> str:
        notification = told(self.template, made_up_chats()[self.chat], language=self.language)
        match self.medium:
            case "slack":
                return PAGE.format(css=SLACK_CSS, content=in_slack(notification))
            case "teams":
                card = json.loads(teams_post(notification))
                return PAGE.format(css=TEAMS_CSS, content=teams_card_html(card, time="09:30"))
            case _:
                return notification.html


def in_slack(notification: Notification) -> str:
    """A webhook's post, and below it what a bot posts: a message, with its thread."""
    thread = pack_thread(notification)
    posts = (slack_post(notification), thread.lead, *thread.replies)
    return "<hr>".join(slack_post_html(post, time="09:30") for post in posts)


def pictures() -> Iterator[Picture]:
    for template, chat in SHOWN_OFF:
        for width in (PHONE, DESKTOP):
            for dark in (False, True):
                yield Picture(template, chat, width, dark=dark)
        for medium in ("slack", "teams"):
            yield Picture(template, chat, ROOM, medium=medium)
    for language in LANGUAGES[1:]:
        yield Picture(*IN_EVERY_LANGUAGE, PHONE, language=language)
    for chat in IN_TROUBLE:
        yield Picture("chat", chat, PHONE)
        yield Picture("chat", chat, DESKTOP, dark=True)


def wrong_with(program: str, picture: Picture) -> list[str]:
    try:
        _, wrong = photograph(
            program,
            picture.page,
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
    figures = "".join(
        f'<figure><figcaption>{picture.name}</figcaption><img src="{picture.name}.png"></figure>\n'
        for picture in wanted
    )
    (FOLDER / "index.html").write_text(INDEX.format(figures=figures), encoding="utf-8")
    sys.stdout.write(f"{len(wanted)} pictures: {FOLDER / 'index.html'}\n")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
