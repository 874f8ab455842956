"""Checks template folders with made-up chats and a digest, and collects the texts that can be translated.

Also finds files that no template reads and `{city}` written for `{{ visitor.city }}`. Translatable
texts are read from the installed code and templates, so no list can be out of date.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.messages import Catalog
from babel.messages.extract import extract
from jinja2 import Environment, TemplateSyntaxError

from relay.chat import Chat
from relay.files import read_file, shipped
from relay.languages import OWN, own_catalogues
from relay.languages.catalogue import Mistake, forms_of, read_catalogue
from relay.rendering.digest_wording import digest_notification
from relay.rendering.made_up_chats import made_up_chats
from relay.rendering.template_folders import (
    DIGEST,
    DIGEST_FILES,
    FILES,
    MAX_SIZE,
    NAME,
    BrokenTemplate,
)
from relay.rendering.template_reference import nearest_name
from relay.rendering.templates import Templates
from relay.timing.digest_contents import Digest, Member, Mute, arranged


def check_digest(templates: Templates) -> list[str]:
    """Render a digest of made-up chats in every language; return each problem as `file:line: problem`."""
    problems: dict[str, None] = {}
    for language in templates.languages.names:
        for digest in (made_up_digest(), made_up_digest(late=True)):
            try:
                digest_notification(
                    templates,
                    digest,
                    language=language,
                    zone=ZoneInfo("UTC"),
                    read=read_made_up,
                )
            except BrokenTemplate as problem:
                problems[str(problem)] = None
    return list(problems)


def made_up_digest(*, late: bool = False) -> Digest:
    """Return a digest of the made-up chats, to be read by `read_made_up`.

    With `late`, it has few chats, is overdue and was muted.
    """
    names = ["missed", "missed_after_an_answer"] if late else list(made_up_chats())
    why = "muted:1" if late else "hours"
    mute = Mute(by="Anna", because="Warehouse move", until=_MORNING)
    return arranged(
        [member for number, name in enumerate(names) for member in _members(name, number, why)],
        order=_MADE_UP_RULES,
        destination="support-room",
        closed_at=_MORNING,
        due_since=_NIGHT if late else None,
        erased=int(late),
        mutes={why: mute} if late else {},
    )


_NIGHT = datetime(2025, 11, 23, 22, 10, tzinfo=UTC)
_MORNING = datetime(2025, 11, 24, 7, tzinfo=UTC)
_MADE_UP_RULES = ("Missed chats", "Bad ratings", "All chats")


def _members(name: str, number: int, why: str) -> list[Member]:
    """Return the members about one of the made-up chats, one for each of its rules."""
    chat = made_up_chats()[name]
    return [
        Member(
            account="208",
            chat=name,
            rules=(rule,),
            why=why,
            arrived=_NIGHT + timedelta(minutes=37 * number),
            updated=_NIGHT,
            missed=bool(chat.missed),
            offline=bool(chat.offline),
        )
        for rule in _rules_of(chat)
    ]


def _rules_of(chat: Chat) -> list[str]:
    bad = chat.rating is not None and chat.rating <= 2
    return [*["Missed chats"] * bool(chat.missed), *["Bad ratings"] * bad] or ["All chats"]


def read_made_up(member: Member) -> Chat:
    """Return the made-up chat that a member of `made_up_digest` names."""
    return made_up_chats()[member.chat]


_ALIKE = 0.75
"""The least similarity of two file names, 0 to 1: `subjct.txt` and `subject.txt` have 0.95."""


def problems_in(
    templates: Templates, name: str, transport: str = "", forms: Sequence[str] = ()
) -> list[str]:
    """Return all problems of a template, each as `file:line: problem`; with `forms`, the result of `check_forms`."""
    if forms:
        return check_forms(templates, name, transport, forms)
    return check_digest(templates) if name == DIGEST else templates.check(name)


def check_forms(templates: Templates, name: str, transport: str, forms: Iterable[str]) -> list[str]:
    """Render each form, a destination's own JSON, for made-up chats of every kind.

    Returns the problem of each form, empty if there is none. If the template itself is broken, all
    are empty.
    """
    problems = dict.fromkeys(forms, "")
    for chat in made_up_chats().values():
        try:
            draft = templates.draft(
                name, chat, rule="A made-up rule", language="en", zone=ZoneInfo("UTC")
            )
        except BrokenTemplate:
            continue
        for form in forms:
            try:
                draft.for_transport(transport, bodies=False, form=form)
            except BrokenTemplate as problem:
                problems[form] = problems[form] or problem.reason
    return [problems[form] for form in forms]


def misplaced(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield files that no template reads, each with the problem of its place. Raises OSError."""
    for path in sorted([*folder.glob("*.po"), *folder.glob("[!.]*/*.po")]):
        if path.parent.name != OWN:
            yield path, f"it is not used here; move it into {folder / OWN}"
    for child in sorted(folder.iterdir()):
        if child.name in FILES:
            yield (
                child,
                f"it is not used here; move it into a template's folder, such as {folder / 'missed'}",
            )
        elif child.is_dir() and not child.name.startswith((".", "_")):
            yield from _in_template(child)


def _in_template(template: Path) -> Iterator[tuple[Path, str]]:
    files = sorted(file.name for file in template.iterdir() if file.is_file())
    all_files = DIGEST_FILES if template.name == DIGEST else FILES
    known = [name for name in files if name in all_files]
    if known and not NAME.fullmatch(template.name):
        yield (
            template,
            "it is not used; a template's name is made of small letters, digits, - and _",
        )
        return
    for name in files:
        near = difflib.get_close_matches(name, all_files, n=1, cutoff=_ALIKE)
        if near and name not in all_files and not _is_included(template, known, name):
            yield template / name, f"it is not used; did you mean {near[0]}?"


def _is_included(template: Path, files: list[str], name: str) -> bool:
    """Whether another file of the template includes this file, which may then have any name."""
    quoted = (f'"{name}"', f"'{name}'")
    return any(
        words in (template / file).read_text("utf-8", "replace")
        for file in files
        for words in quoted
    )


MOST_LOOKED_AT = 400_000
_ENDINGS = {".txt", ".html"}
_SINGLE = re.compile(r"(?<!\{)\{\s*([a-zA-Z_][\w.]*)\s*\}(?!\})")
_NOT_SHOWN = re.compile(r"(?is)<(style|script)\b.*?</\1\s*>")


def single_braces(folder: Path) -> Iterator[tuple[Path, int, str]]:
    """Yield each `{city}` that would be printed literally: file, line and the replacement to suggest.

    Raises OSError.
    """
    for path in sorted(folder.glob("[!.]*/*.*")):
        if path.suffix in _ENDINGS and path.is_file():
            for line, name in _in_source(
                read_file(path, MOST_LOOKED_AT).decode("utf-8", "replace")
            ):
                yield (
                    path,
                    line,
                    f"'{{{name}}}' is printed as it stands; write {{{{ {nearest_name(name) or name} }}}}",
                )


def _in_source(source: str) -> Iterator[tuple[int, str]]:
    """Yield the braces outside Jinja's own syntax, with their line number."""
    try:
        pieces = list(Environment(autoescape=True).lex(source))
    except TemplateSyntaxError:
        return  # checks of the template itself report these
    for line, kind, text in pieces:
        if kind == "data":
            shown = _NOT_SHOWN.sub(lambda hidden: re.sub(r"[^\n]", " ", hidden[0]), text)
            for match in _SINGLE.finditer(shown):
                yield line + shown.count("\n", 0, match.start()), match[1]


_PACKAGE = Path(__file__).parents[1]
_TRANSLATES = re.compile(rb"\b(?:_|N_|n?gettext)\(")
_AS_THE_SANDBOX = {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}
_SAME_TEXT = 0.8
"""The least similarity of two texts for a hint, 0 to 1."""
_LONGEST = 200
"""The most characters that are compared: the cost grows with both lengths."""


def texts(own: Path | None = None) -> tuple[Catalog, list[str]]:
    """Return all translatable texts with the files that use them, and problems as `file:line: problem`.

    Texts come from the user's templates, the relay's templates and the code. Problems are templates
    that can't be parsed.
    """
    catalog, broken = Catalog(), []
    for folder, name in ((own, own.name if own else ""), (shipped("templates"), "templates")):
        broken += _add_templates(catalog, folder, name) if folder else []
    for path in sorted(_PACKAGE.rglob("*.py")):
        if any(_PACKAGE / name in path.parents for name in ("console", "rules")):
            continue  # said by the console, which has catalogues of its own
        source = path.read_bytes()
        if _TRANSLATES.search(source):
            _add(catalog, "python", source, f"{_PACKAGE.name}/{path.relative_to(_PACKAGE)}")
    return catalog, broken


def texts_of_templates(folder: Path) -> tuple[Catalog, list[str]]:
    """Return the texts that a folder's templates translate, and the problems of unreadable templates."""
    catalog = Catalog()
    return catalog, _add_templates(catalog, folder, folder.name)


def unused_translations(folder: Path) -> Iterator[Mistake]:
    """Yield the translations in a folder's catalogues that no template uses."""
    catalogues = own_catalogues(folder)
    if not catalogues:
        return
    known = {_key(entry.id) for entry in texts(folder)[0] if entry.id}
    for tag, path in catalogues.items():
        for entry in read_catalogue(path, tag, within=folder).entries:
            if entry.id and _key(entry.id) not in known:
                reason = _never(entry.id, known, tag)
                yield Mistake(str(path), entry.lineno or 0, reason, harmless=True)


def _key(msgid: str | list[str] | tuple[str, ...]) -> tuple[str, bool]:
    """Return a key that distinguishes a text with plural forms from one without."""
    return forms_of(msgid)[0], not isinstance(msgid, str)


def _never(
    msgid: str | list[str] | tuple[str, ...], known: Iterable[tuple[str, bool]], tag: str
) -> str:
    text, _ = _key(msgid)
    near = difflib.get_close_matches(text[:_LONGEST], [each for each, _ in known], 1, _SAME_TEXT)
    if near and near[0] != text:
        return f"nothing says this text; did you mean {near[0]!r}?"
    return f"nothing says this text; `relay translate {tag}` writes those that are said"


def _add_templates(catalog: Catalog, folder: Path, name: str) -> list[str]:
    broken = []
    for path in sorted(folder.glob("*/*.*"), key=_in_order):
        if path.suffix not in {Path(file).suffix for file in FILES}:
            continue
        try:
            source = read_file(path, MAX_SIZE)
            _add(catalog, "jinja2.ext:babel_extract", source, f"{name}/{path.relative_to(folder)}")
        except TemplateSyntaxError as error:
            broken.append(f"{path}:{error.lineno}: {error.message}")
        except (OSError, UnicodeDecodeError) as error:
            broken.append(f"{path}: can't be read: {getattr(error, 'strerror', error)}")
    return broken


def _in_order(path: Path) -> tuple[bool, Path]:
    """Return a sort key that puts shared files after the files of each template."""
    return path.parent.name.startswith("_"), path


def _add(catalog: Catalog, method: str, source: bytes, name: str) -> None:
    for line, text, _, context in extract(method, BytesIO(source), options=_AS_THE_SANDBOX):
        catalog.add(text, locations=[(name, line)], context=context)
