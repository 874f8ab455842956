"""Where commands put what users change: the folder that RELAY_TEMPLATES names, or else `mytemplates`.

`relay template`: the files that come with the relay, to be changed.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from relay.cli.printing import could_not_run, print_lines
from relay.files import shipped
from relay.rendering.folders import DIGEST, DIGEST_FILES, FILES, Folders
from relay.rules.reading.values import did_you_mean, quoted
from relay.runtime.startup import OWN_TEMPLATES


def own_folder(variables: Mapping[str, str]) -> Path:
    """It may not be there yet."""
    return Path(variables.get("RELAY_TEMPLATES", "").strip() or OWN_TEMPLATES)


def how_to_use_it(variables: Mapping[str, str]) -> Iterator[str]:
    """What is still to be done for the relay to find the folder."""
    if not variables.get("RELAY_TEMPLATES", "").strip():
        yield f"For the relay to find it, put this line into relay.env: RELAY_TEMPLATES={OWN_TEMPLATES}"
        yield "A relay that runs has to be restarted for that."


@click.command()
@click.argument("file", required=False, metavar="[FILE]")
def template(file: str | None) -> None:
    """Put FILE, such as missed/subject.txt, into your folder of templates, as it comes with the relay.

    From then on yours is used; change it as you like. Your folder is the one that RELAY_TEMPLATES names, else
    mytemplates. What is there already stays as it is. Without FILE all that there are are listed.
    """
    folder = own_folder(os.environ)
    there = _sources()
    if file is None:
        print_lines(_listed(there, folder))
        return
    if file not in there:
        could_not_run([f"there is no file {quoted(file)}; {_hint(file, there)}"])
    path = folder / file
    if path.exists():
        print_lines([f"{path}: was there already, and stays"])
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(there[file], path)
    except OSError as error:
        could_not_run([f"{error.filename or path}: can't be written: {error.strerror}"])
    print_lines([f"{path}: written, as it comes with the relay"])
    if inherited := _inherited(file, there):
        name = file.partition("/")[0]
        print_lines(
            [f"Until now {name} used {inherited}. What you change there no longer reaches {name}."]
        )
    print_lines(how_to_use_it(os.environ))


def _sources() -> dict[str, Path]:
    """Where each comes from: a template without a file of its own uses that of `chat`."""
    folder = shipped("templates")
    folders = Folders((folder,))
    names = [
        f"{name}/{file}" for name in folders.names() for file in FILES if folders.has(name, file)
    ]
    names += [f"{DIGEST}/{file}" for file in DIGEST_FILES]
    parts = [str(path.relative_to(folder)) for path in sorted(folder.glob("_*/*.*"))]
    chosen = {name: folder / folders.choose(*name.split("/")) for name in names}
    return chosen | {name: folder / name for name in parts}


def _inherited(name: str, there: dict[str, Path]) -> str:
    """The file of another template that it is, where the template has none of its own; else empty."""
    path = "/".join(there[name].parts[-2:])
    return "" if path == name else path


def _listed(there: dict[str, Path], own: Path) -> Iterator[str]:
    for name in there:
        if (own / name).exists():
            yield f"{name}  (yours: {own / name})"
        elif inherited := _inherited(name, there):
            yield f"{name}  (none of its own: uses {inherited})"
        else:
            yield name


def _hint(file: str, there: dict[str, Path]) -> str:
    within = [name for name in there if name.startswith(f"{file.rstrip('/')}/")]
    return f"there are: {', '.join(within)}" if within else did_you_mean(file, there)
