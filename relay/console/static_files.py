"""Static files of pages: kept in memory, with a hash of their contents in the path, so that browsers cache them for ever."""

import gzip
import hashlib
from pathlib import Path

from msgspec import Struct

from relay.outbox.user_choices import THEMES
from relay.preview.lookalike import LOOKALIKE_CSS

FOLDER = Path(__file__).parent / "static"
PREFIX = "/static/"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class StaticFile(Struct, frozen=True):
    """A static file, ready to be sent."""

    path: str
    media_type: str
    body: bytes
    packed: bytes
    """The body compressed by gzip."""

    def headers(self, *, is_packed: bool) -> list[tuple[bytes, bytes]]:
        """The headers of the answer."""
        size = len(self.packed if is_packed else self.body)
        headers = [
            (b"content-type", self.media_type.encode()),
            (b"content-length", str(size).encode()),
            (b"cache-control", b"public, max-age=31536000, immutable"),
            (b"vary", b"accept-encoding"),
        ]
        return [*headers, (b"content-encoding", b"gzip")] if is_packed else headers


class StaticFiles:
    """All files of the folder of static files."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Read all files once; another version of the relay is another process."""
        files = [path for path in sorted(folder.iterdir()) if path.suffix in _TYPES]
        bodies = {path.name: path.read_bytes() for path in files}
        bodies["lookalike.css"] = LOOKALIKE_CSS.encode()
        styles = {name: body.decode() for name, body in bodies.items() if name.endswith(".css")}
        for name, style in styles.items():
            bodies |= {f"{theme}-{name}": _in_theme(style, theme).encode() for theme in THEMES}
        self._by_name = {name: _static_file(name, body) for name, body in bodies.items()}
        self._by_path = {each.path: each for each in self._by_name.values()}

    def path(self, name: str, theme: str = "") -> str:
        """The path of the file for a page. `theme`: for a stylesheet, whatever the browser prefers."""
        return self._by_name[f"{theme}-{name}" if theme else name].path

    def find(self, path: str) -> StaticFile | None:
        """The file at a path of a URL; None where there is none."""
        return self._by_path.get(path)


def _in_theme(style: str, theme: str) -> str:
    """A stylesheet as browsers that prefer this theme apply it; paper is white all the same."""
    holds = "screen" if theme == "dark" else "not all"
    style = style.replace("(prefers-color-scheme: dark)", holds)
    return style.replace("color-scheme: light dark", f"color-scheme: {theme}")


def _static_file(name: str, body: bytes) -> StaticFile:
    stem, _, kind = name.rpartition(".")
    mark = hashlib.sha256(body).hexdigest()[:12]
    return StaticFile(
        f"{PREFIX}{stem}-{mark}.{kind}", _TYPES[f".{kind}"], body, gzip.compress(body, mtime=0)
    )
