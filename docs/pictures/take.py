"""Takes the pictures of the documentation: `.venv/bin/python docs/pictures/take.py`, at the top of the repository.

Needs Chromium. The mail, the post and the card are what the sample chats and the shipped templates give; the
page is *Received* of a running `relay demo`. Look at each picture before you keep it.
"""
# ruff: noqa: INP001, S101, S603 - a script for a person, which starts nothing but Chromium and the demo

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin
from zoneinfo import ZoneInfo

from PIL import Image
from playwright.sync_api import sync_playwright

from relay.notification import Notification
from relay.preview.lookalike.slack_post import SLACK_CSS, slack_post_html
from relay.preview.lookalike.teams_card import TEAMS_CSS, teams_card_html
from relay.rendering.templates import Templates
from relay.smartsupp import read_chat
from relay.transports.slack.pack import pack as slack_post
from relay.transports.teams.pack import pack as teams_post

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAM = "/usr/bin/chromium"
SAMPLES = ROOT / "relay" / "demo" / "samples"
CUT = 200
"""Pixels at the window's foot that some versions of Chromium leave empty."""
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; padding: {padding}; background: {ground}; font: 15px/1.5 system-ui, sans-serif }}
{css}</style>{content}"""


def main() -> None:
    missed = told("missed", sample="missed.json", rule="Missed chats")
    low = told("low_rating", sample="low_rating_vip.json", rule="Bad ratings")
    slack = slack_post_html(slack_post(missed), time="09:30")
    teams = teams_card_html(json.loads(teams_post(low)), time="11:36")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)

        def page(name: str, html: str) -> str:
            path = scratch / f"{name}.html"
            path.write_text(html, encoding="utf-8")
            return path.as_uri()

        shoot(page("mail", missed.html), "mail-missed.png", 640, 708)
        content = PAGE.format(padding="0", ground="#fff", css=SLACK_CSS, content=slack)
        shoot(page("slack", content), "slack-missed.png", 560, 490)
        content = PAGE.format(padding="16px", ground="#f5f5f5", css=TEAMS_CSS, content=teams)
        shoot(page("teams", content), "teams-low-rating.png", 560, 640)
    with demo() as link:
        shoot_console(link, "demo.png", "/received", 1280, 700)


def told(template: str, *, sample: str, rule: str) -> Notification:
    """What a recipient is told of one of the demo's chats."""
    chat = read_chat((SAMPLES / sample).read_bytes())
    return Templates(ROOT / "templates").render(
        template, chat, rule=rule, language="en", zone=ZoneInfo("Europe/Prague")
    )


@contextmanager
def demo() -> Iterator[str]:
    """A running demo whose samples have arrived; the link that opens its console."""
    command = [sys.executable, "-m", "relay", "demo", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield next(
                found[1]
                for line in process.stdout
                if (found := re.search(r"Open (\S+) in a browser", line))
            )
        finally:
            process.send_signal(signal.SIGINT)


def shoot_console(link: str, name: str, path: str, width: int, height: int) -> None:
    """The top of a page of the demo's console."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(link)
        page.click("button")
        page.goto(urljoin(link, path), wait_until="networkidle")
        page.screenshot(path=HERE / name)
        browser.close()
    make_small(name, width, height)


def shoot(url: str, name: str, width: int, height: int, *, scale: int = 2) -> None:
    """The top of the page, so wide and so high; `scale` pixels of the picture for each of the page."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                PROGRAM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                "--disable-lcd-text",
                "--virtual-time-budget=10000",
                f"--force-device-scale-factor={scale}",
                f"--user-data-dir={profile}",
                f"--window-size={width},{height + CUT}",
                f"--screenshot={HERE / name}",
                url,
            ],
            check=True,
            capture_output=True,
        )
    make_small(name, width * scale, height * scale)


def make_small(name: str, width: int, height: int) -> None:
    """256 colours are enough for words, and a third of the size."""
    with Image.open(HERE / name) as taken:
        seen = taken.convert("RGB").crop((0, 0, width, height))
        small = seen.quantize(256, dither=Image.Dither.NONE)
    small.save(HERE / name, optimize=True)


if __name__ == "__main__":
    main()
