"""Photographs pages with headless Chromium, and measures them while it is there."""

import html
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)
TALLEST = 2_600
"""Pixels of a page that a picture shows."""
PATIENCE = 50
"""Seconds for one picture."""
FEWEST_COLOURS = 30
"""Of a picture with words on it: their edges alone have more."""

# A page in Chromium is never as narrow as a phone: what is photographed stands in a frame that is.
_FRAME = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<style>body{{margin:0}}iframe{{border:0;display:block;width:{width}px;height:{height}px}}</style>
<iframe id="page" srcdoc="{page}"></iframe><pre id="measured" hidden></pre><script>{measure}</script>"""
_MEASURE = """
const rgb = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
const opaque = ([, , , alpha = 1]) => alpha > 0.9;
const light = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
const behind = (element, style) => {
  for (; element; element = element.parentElement) {
    const colour = rgb(style(element).backgroundColor);
    if (opaque(colour)) return colour;
  }
  return [255, 255, 255];
};
addEventListener("load", () => {
  const page = document.getElementById("page"), inner = page.contentDocument;
  page.style.height = "1px";  // or a short page would seem to be as high as its frame
  const style = (element) => page.contentWindow.getComputedStyle(element);
  const pale = [], words = inner.createTreeWalker(inner.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = words.nextNode()); ) {
    const said = node.data.trim(), its = style(node.parentElement), size = parseFloat(its.fontSize);
    if (!said || its.display === "none" || size < 2) continue;
    const [one, other] = [luminance(rgb(its.color)), luminance(behind(node.parentElement, style))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const large = size >= 24 || (size >= 18.6 && its.fontWeight >= 700);
    if (contrast < (large ? 3 : 4.5)) pale.push(said.slice(0, 40) + " (" + contrast.toFixed(1) + ":1)");
  }
  const root = inner.documentElement, measured = {width: root.scrollWidth, height: root.scrollHeight, pale};
  page.style.height = measured.height + "px";
  document.getElementById("measured").textContent = JSON.stringify(measured);
});
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """In pixels of CSS."""

    width: int
    """Of all that there is: more than the page was given where something sticks out."""
    height: int
    pale: list[str]
    """Words that stand out from their ground less than WCAG 2.2, 1.4.3, asks for."""


def chromium() -> str | None:
    """The program, where there is one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def photograph(
    program: str, page: str, path: Path, *, width: int, dark: bool = False
) -> tuple[Measured, list[str]]:
    """Writes the picture, and returns what was measured and all that is wrong with either.

    Raises subprocess.SubprocessError where Chromium fails twice: on a busy computer it hangs or dies now and then.
    """
    try:
        measured = _photographed(program, page, path, width=width, dark=dark)
    except subprocess.SubprocessError:
        measured = _photographed(program, page, path, width=width, dark=dark)
    return measured, list(_wrong(measured, width)) + _cropped(path, width, measured.height)


def _photographed(program: str, page: str, path: Path, *, width: int, dark: bool) -> Measured:
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "page.html"
        framed = _FRAME.format(
            width=width, height=TALLEST, page=html.escape(page), measure=_MEASURE
        )
        source.write_text(framed, encoding="utf-8")
        told = subprocess.run(
            [
                program,
                *FLAGS,
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                f"--user-data-dir={scratch}/profile",
                f"--window-size={width},{TALLEST}",
                "--dump-dom",
                f"--screenshot={path}",
                source.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )
    return _measured(told.stdout.decode())


def _measured(dom: str) -> Measured:
    found = re.search(r'<pre id="measured"[^>]*>(\{.*?\})</pre>', dom)
    if found is None:
        raise subprocess.SubprocessError("Chromium ended before the page was measured")
    return Measured(**json.loads(html.unescape(found[1])))


def _wrong(measured: Measured, width: int) -> list[str]:
    wrong = [f"too pale: {words}" for words in measured.pale]
    if measured.width > width:
        wrong.append(f"{measured.width} pixels wide, where {width} are seen")
    return wrong


def _cropped(path: Path, width: int, height: int) -> list[str]:
    """The picture ends where the page does. Returns what is wrong with it."""
    with Image.open(path) as taken:
        if taken.size != (width, TALLEST):
            return [f"a picture of {taken.size}, not of {width} by {TALLEST} pixels"]
        picture = taken.convert("RGB").crop((0, 0, width, min(height, TALLEST)))
    picture.save(path, optimize=True)
    colours = picture.getcolors(FEWEST_COLOURS)
    return [] if colours is None else [f"only {len(colours)} colours: is it blank?"]
