"""The console speaks four languages, and each has every word."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from relay.console.page import CATALOGUES, language_for
from relay.languages import LANGUAGES, SOURCE
from relay.languages.catalogue import read_catalogue

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "relay" / "console" / "pages"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """What `make messages` finds in the console's code and pages."""
    path = tmp_path_factory.mktemp("messages") / "console.pot"
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    (command,) = re.findall(
        r"\$\(PYBABEL\) (extract [^\n]*?) --output \$\(CONSOLE\) relay/console\n", makefile
    )
    shell = f'"{sys.executable}" -m babel.messages.frontend --quiet {command} --output "{path}" relay/console'
    subprocess.run(shell, shell=True, cwd=ROOT, check=True)  # noqa: S602 - our own Makefile
    with path.open("rb") as file:
        return read_po(file)


@pytest.mark.parametrize("tag", [each for each in LANGUAGES if each != SOURCE])
def test_every_word_is_translated_and_none_too_many(found: Catalog, tag: str) -> None:
    catalogue = read_catalogue(CATALOGUES / f"{tag}.po", tag)
    assert [str(each) for each in catalogue.mistakes] == []
    wanted = {each.id if isinstance(each.id, str) else each.id[0] for each in found if each.id}
    there = {
        each.id if isinstance(each.id, str) else each.id[0] for each in catalogue.entries if each.id
    }
    assert there == wanted


@pytest.mark.parametrize(
    ("accepted", "usual", "tag"),
    [
        ("cs,en;q=0.5", "en", "cs"),
        ("de-AT", "en", "de"),
        ("fr;q=0.9,es;q=0.8", "en", "es"),
        ("fr", "cs", "cs"),
        ("", "de", "de"),
        ("*", "es", "es"),
        ("cs;q=0,de;q=0.1", "en", "de"),
        ("CS", "en", "cs"),
        ("x;q=y", "fr", "en"),
    ],
)
def test_the_browser_chooses_the_language_and_then_the_rules_do(
    accepted: str, usual: str, tag: str
) -> None:
    assert language_for(accepted, usual).name == tag


def test_no_page_lets_words_through_unescaped() -> None:
    for page in PAGES.glob("*.html"):
        text = page.read_text("utf-8")
        assert not re.search(r"\|\s*safe|autoescape|Markup|style=|<style|\son\w+=", text), page.name


def test_no_style_has_letters_that_can_not_grow() -> None:
    style = (PAGES.parent / "static" / "console.css").read_text("utf-8")
    assert re.findall(r"font(?:-size)?:\s*[\d.]+px", style) == []
