"""`relay translate`: a language, or other words for one, without a look at the code."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from relay import __version__
from relay.cli.printing import could_not_run, counted, print_lines
from relay.cli.template import how_to_use_it, own_folder
from relay.files import read_file
from relay.languages import LANGUAGES, OWN
from relay.languages.catalogue import OddLine
from relay.languages.tags import SUCH_AS, is_tag, name_of, tag_meant_by
from relay.languages.writing import Made, begin, bring_up_to_date
from relay.rendering.template_checks import texts
from relay.rules.reading.values import shown


@click.command()
@click.argument("language")
def translate(language: str) -> None:
    """Write a translation file for LANGUAGE, to be filled in: all that the relay says, sentence by sentence.

    LANGUAGE is a tag such as fr or pt-BR. With one that the relay speaks already, en too, you change its words.
    The file is _translations/LANGUAGE.po in your folder of templates (RELAY_TEMPLATES, else mytemplates). Texts
    that your own templates say by _("...") are in it. Where you write nothing, the relay's own words stay.

    If the file is there it is brought up to date, and keeps all that is translated.
    """
    if not is_tag(language):
        meant = tag_meant_by(language)
        hint = f"did you mean {meant}?" if meant else f"name it by its tag, {SUCH_AS}"
        could_not_run([f"unknown language {shown(language)}; {hint}"])
    folder = own_folder(os.environ)
    path = folder / OWN / f"{language}.po"
    said, broken = texts(folder if folder.is_dir() else None)
    print_lines((f"{each}; its texts are left out" for each in broken), err=True)
    try:
        before = _read(path)
        if before:
            made = bring_up_to_date(before, language, said)
        else:
            made = begin(language, said, version=__version__, now=datetime.now(UTC))
        if made.text != before:
            _write(path, made.text)
    except OddLine as odd:
        could_not_run(
            [f"{path}:{odd.line}: {odd.what}", "Fix that first; the file was not changed."]
        )
    except UnicodeDecodeError:
        could_not_run([f"{path}: is not UTF-8; save it as UTF-8"])
    except OSError as error:
        could_not_run([f"{error.filename or path}: {error.strerror}"])
    print_lines(_told(path, language, made, before))


def _read(path: Path) -> str:
    """Nothing where there is no such file."""
    try:
        return read_file(path).decode("utf-8-sig")
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a relay that runs may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()
    beside = target.with_name(f".{target.name}.new")
    beside.write_text(text, encoding="utf-8", newline="\n")
    beside.replace(target)


def _told(path: Path, tag: str, made: Made, before: str) -> Iterator[str]:
    yield f"{path}: {', '.join(_what_was_done(made, before))}"
    if before:
        return
    yield "Open it with any text editor, or with Poedit, and write your words into msgstr. Then:"
    if tag not in LANGUAGES:
        yield f"  language: {tag}    in rules.yaml, at the top for all, or beside a destination for {name_of(tag)} there"
    yield "  relay check        finds mistakes"
    yield "  relay preview samples/missed.json --open"
    yield from how_to_use_it(os.environ)


def _what_was_done(made: Made, before: str) -> Iterator[str]:
    if not before:
        yield f"written, with {counted(made.texts, 'text')}"
        return
    if made.text == before:
        yield "is up to date"
    if made.new:
        yield f"{counted(made.new, 'text')} added"
    if made.dropped:
        yield f"{counted(made.dropped, 'translation')} no longer said, kept at its end"
    yield f"{made.translated} of {counted(made.texts, 'text')} translated"
