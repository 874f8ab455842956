"""`relay template` and `relay translate`: copy shipped templates and translations to the user's folder, to be changed there."""

import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click
from babel.messages import Catalog

from relay import __version__
from relay.cli.printing import could_not_run, counted, print_lines
from relay.files import read_file
from relay.languages import LANGUAGES, OWN
from relay.languages.catalogue import OddLine
from relay.languages.catalogue_writer import CatalogueFile, begin, bring_up_to_date
from relay.languages.tags import EXAMPLES, guess_tag, is_tag, name_of
from relay.rendering.template_checks import texts
from relay.rendering.template_folders import inherited_from, shipped_files
from relay.rules.reading.value_parsers import did_you_mean, quoted, shown
from relay.runtime.startup import OWN_TEMPLATES


def own_folder(variables: Mapping[str, str]) -> Path:
    """The folder of the user's own templates, which may not exist yet."""
    return Path(variables.get("RELAY_TEMPLATES", "").strip() or OWN_TEMPLATES)


def usage_lines(variables: Mapping[str, str]) -> Iterator[str]:
    """Lines that say how to make the relay use the folder; none where it does."""
    if not variables.get("RELAY_TEMPLATES", "").strip():
        yield f"For the relay to find it, put this line into relay.env: RELAY_TEMPLATES={OWN_TEMPLATES}"
        yield "Restart the relay if it is running."


@click.command()
@click.argument("file", required=False, metavar="[FILE]")
def template(file: str | None) -> None:
    """Put FILE, such as missed/subject.txt, into your folder of templates, as it comes with the relay.

    From then on yours is used; change it as you like. Your folder is the one that RELAY_TEMPLATES names, else
    mytemplates. What is there already stays as it is. Without FILE, all files are listed.
    """
    folder, files = own_folder(os.environ), shipped_files()
    if file is None:
        print_lines(_listed(files, folder))
        return
    if file not in files:
        could_not_run([f"there is no file {quoted(file)}; {_hint(file, files)}"])
    path = folder / file
    if path.exists():
        print_lines([f"{path}: was there already, and stays"])
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files[file], path)
    except OSError as error:
        could_not_run([f"{error.filename or path}: can't be written: {error.strerror}"])
    print_lines(_copied_lines(path, file, files))


def _copied_lines(path: Path, file: str, files: dict[str, Path]) -> Iterator[str]:
    """What to know of the copy at `path`: that it is used from now on, and in place of what."""
    yield f"{path}: written, as it comes with the relay"
    if inherited := inherited_from(file, files):
        name = file.partition("/")[0]
        yield f"Until now {name} used {inherited}. What you change there no longer reaches {name}."
    yield from usage_lines(os.environ)


def _listed(files: dict[str, Path], own: Path) -> Iterator[str]:
    for name in files:
        if (own / name).exists():
            yield f"{name}  (yours: {own / name})"
        elif inherited := inherited_from(name, files):
            yield f"{name}  (none of its own: uses {inherited})"
        else:
            yield name


def _hint(file: str, files: dict[str, Path]) -> str:
    within = [name for name in files if name.startswith(f"{file.rstrip('/')}/")]
    return f"there are: {', '.join(within)}" if within else did_you_mean(file, files)


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
        meant = guess_tag(language)
        hint = f"did you mean {meant}?" if meant else f"name it by its tag, {EXAMPLES}"
        could_not_run([f"unknown language {shown(language)}; {hint}"])
    folder = own_folder(os.environ)
    path = folder / OWN / f"{language}.po"
    sentences, broken = texts(folder if folder.is_dir() else None)
    print_lines((f"{each}; its texts are left out" for each in broken), err=True)
    made, before = _brought_up_to_date(path, language, sentences)
    print_lines(_lines(path, language, made, before))


def _brought_up_to_date(path: Path, language: str, sentences: Catalog) -> tuple[CatalogueFile, str]:
    """Write the translation file, and return it with its previous text, empty where there was none; or end the command."""
    try:
        before = _read(path)
        if before:
            made = bring_up_to_date(before, language, sentences)
        else:
            made = begin(language, sentences, version=__version__, now=datetime.now(UTC))
        if made.text != before:
            _write(path, made.text)
    except OddLine as odd:
        words = f"{path}:{odd.line}: {odd.message}"
        could_not_run([words, "Fix that first; the file was not changed."])
    except UnicodeDecodeError:
        could_not_run([f"{path}: is not UTF-8; save it as UTF-8"])
    except OSError as error:
        could_not_run([f"{error.filename or path}: {error.strerror}"])
    return made, before


def _read(path: Path) -> str:
    """The file's text; empty where there is no such file."""
    try:
        return read_file(path).decode("utf-8-sig")
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    """Write the file, complete or not at all, as a running relay may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.new")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(target)


def _lines(path: Path, tag: str, made: CatalogueFile, before: str) -> Iterator[str]:
    yield f"{path}: {', '.join(_changes(made, before))}"
    if before:
        return
    yield "Open it with any text editor, or with Poedit, and write your words into msgstr. Then:"
    if tag not in LANGUAGES:
        yield f"  language: {tag}    in rules.yaml, at the top for all, or beside a destination for {name_of(tag)} there"
    yield "  relay check        finds mistakes"
    yield "  relay preview samples/missed.json --open"
    yield from usage_lines(os.environ)


def _changes(made: CatalogueFile, before: str) -> Iterator[str]:
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
