"""Files that come with the relay and that users copy or override: the example rules, the templates."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """The path of `rules.example.yaml` or `templates`.

    In a wheel they are carried inside the package, in a checkout they stand beside it.
    Raises FileNotFoundError where the installation lacks them.
    """
    for folder in (_PACKAGE / "_shipped", _PACKAGE.parent):
        path = folder / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is missing from this installation of the relay ({_PACKAGE})")
