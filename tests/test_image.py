"""The Dockerfile gets the files that it asks for. `make image-test` builds and starts the image (tests/image.py)."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def copied() -> set[str]:
    """What the Dockerfile copies from the source."""
    lines = re.findall(r"^COPY ((?!--from).*)$", DOCKERFILE, re.MULTILINE)
    return {source for line in lines for source in line.split()[:-1]}


def left_out(name: str) -> bool:
    """Whether .dockerignore keeps it from the build: the last pattern that fits decides."""
    patterns = (ROOT / ".dockerignore").read_text("utf-8").split()
    fitting = [line for line in patterns if fnmatch(name, line.removeprefix("!"))]
    return bool(fitting) and not fitting[-1].startswith("!")


def test_dockerignore_lets_through_what_the_dockerfile_copies_and_nothing_else() -> None:
    assert {name for name in copied() if left_out(name) or not (ROOT / name).exists()} == set()
    let_through = {path.name for path in ROOT.iterdir() if not left_out(path.name)}
    assert let_through == copied()


def test_the_dockerfile_copies_all_that_the_wheel_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    files = {*wheel["packages"], *wheel["force-include"], *project["project"]["license-files"]}
    assert files | {project["project"]["readme"], "pyproject.toml"} <= copied()


def test_an_unpacked_source_has_all_that_the_wheel_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    targets = project["tool"]["hatch"]["build"]["targets"]
    source = {name.removeprefix("/") for name in targets["sdist"]["include"]}
    assert {*targets["wheel"]["packages"], *targets["wheel"]["force-include"]} <= source
