"""Files that come with the relay and that users copy or override: the example rules, the templates."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """The path of `rules.example.yaml`, its cases, or `templates`.

    In a wheel they are carried inside the package, in a checkout they stand beside it.
    Raises FileNotFoundError where the installation lacks them.
    """
    for folder in (_PACKAGE / "_shipped", _PACKAGE.parent):
        path = folder / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is missing from this installation of the relay ({_PACKAGE})")


def copy_rules(to: Path) -> bool:
    """Writes the example rules; False where something is there already. Raises OSError."""
    return _copy("rules.example.yaml", to)


def copy_cases(to: Path) -> bool:
    """Writes the cases that try the example rules; False where something is there already. Raises OSError."""
    return _copy("rules.example.test.yaml", to)


def _copy(name: str, to: Path) -> bool:
    if to.exists():
        return False
    shutil.copyfile(shipped(name), to)
    return True


def copy_samples(to: Path) -> bool:
    """Writes a folder of sample chats; False where something is there already. Raises OSError."""
    if to.exists():
        return False
    with as_file(files("relay.demo") / "samples") as samples:
        shutil.copytree(samples, to)
    return True
