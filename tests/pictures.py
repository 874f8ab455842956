"""Photographs the mails with headless Chromium: light and dark, phone and desktop. `make pictures` runs it.

The pictures are for looking at: artefacts/pictures/index.html shows them side by side. Nothing compares them.
"""

import html
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from relay.languages import LANGUAGES
from relay.made_up import made_up_chats
from tests.templates.reading import told

FOLDER = Path(__file__).parents[1] / "artefacts" / "pictures"
MAILS = (
    ("missed", "missed"),
    ("missed", "missed_after_an_answer"),
    ("low_rating", "badly_rated"),
    ("offline", "offline"),
    ("vip", "vip"),
    ("chat", "finished"),
    ("chat", "automatic_only"),
    ("chat", "very_long"),
    ("chat", "other_scripts"),
    ("chat", "hostile"),
)
"""Templates, and the made-up chats that show them off or give them trouble."""
IN_EVERY_LANGUAGE = 5
"""So many of them; the others in English."""
WIDTHS = (375, 1280)
HEIGHT = 1_500
PATIENCE = 60
"""Seconds for one picture."""
# A page in Chromium is never as narrow as a phone: the mail stands in a frame that is.
FRAME = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<style>body{{margin:0}}iframe{{border:0;display:block;width:{width}px;height:{height}px}}</style>
<iframe srcdoc="{mail}"></iframe>"""
INDEX = """<!doctype html><meta charset="utf-8"><title>Mails</title>
<style>body{{font:14px system-ui;background:#888}}figure{{display:inline-block;margin:8px;vertical-align:top}}
img{{width:300px}}</style>{figures}"""


@dataclass(frozen=True, slots=True)
class Picture:
    """One mail as one reader sees it."""

    template: str
    chat: str
    language: str
    width: int
    dark: bool

    @property
    def name(self) -> str:
        light = "dark" if self.dark else "light"
        return f"{self.template}-{self.chat}-{self.language}-{self.width}-{light}"


def pictures() -> Iterator[Picture]:
    for place, (template, chat) in enumerate(MAILS):
        for language in LANGUAGES if place < IN_EVERY_LANGUAGE else LANGUAGES[:1]:
            for width in WIDTHS:
                yield Picture(template, chat, language, width, dark=False)
                yield Picture(template, chat, language, width, dark=True)


def take(chromium: str, picture: Picture) -> None:
    notification = told(picture.template, made_up_chats()[picture.chat], language=picture.language)
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "mail.html"
        frame = FRAME.format(
            width=picture.width, height=HEIGHT, mail=html.escape(notification.html)
        )
        page.write_text(frame, encoding="utf-8")
        subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--hide-scrollbars",
                f"--blink-settings=preferredColorScheme={0 if picture.dark else 1}",
                f"--user-data-dir={scratch}/profile",
                f"--window-size={picture.width},{HEIGHT}",
                f"--screenshot={FOLDER / picture.name}.png",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )


def main() -> None:
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if chromium is None:
        sys.exit("No pictures: Chromium is not installed.")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    wanted = list(pictures())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda picture: take(chromium, picture), wanted))
    figures = "".join(
        f'<figure><figcaption>{picture.name}</figcaption><img src="{picture.name}.png"></figure>\n'
        for picture in wanted
    )
    (FOLDER / "index.html").write_text(INDEX.format(figures=figures), encoding="utf-8")
    sys.stdout.write(f"{len(wanted)} pictures: {FOLDER / 'index.html'}\n")


if __name__ == "__main__":
    main()
