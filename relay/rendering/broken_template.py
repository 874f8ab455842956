"""A template that can't be used, and where."""

import traceback

from jinja2 import TemplateNotFound, TemplateSyntaxError

from relay.rendering.folders import UnreadableFile


class BrokenTemplate(Exception):
    """Says template, file, line (0 where there is none) and what was wrong, in words."""

    def __init__(self, template: str, file: str, line: int, what: str) -> None:
        super().__init__(template, file, line, what)
        self.template = template
        self.file = file
        self.line = line
        self.what = what

    def __str__(self) -> str:
        """As editors jump to it: `file:line: what`."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.what}"


def broken_by(error: Exception, template: str, file: str) -> BrokenTemplate:
    """What an exception out of Jinja means to the template's author. `file`: where Jinja names none."""
    match error:
        case TemplateSyntaxError():
            return BrokenTemplate(
                template, error.filename or file, error.lineno, error.message or ""
            )
        case UnreadableFile():
            return BrokenTemplate(template, error.file, error.line, error.what)
        case TemplateNotFound():
            place, line = _place(error, file)
            return BrokenTemplate(template, place, line, f"there is no file {error.name!r}")
        case RecursionError():
            place, line = _place(error, file)
            return BrokenTemplate(
                template, place, line, "calls itself without an end, or is nested too deep"
            )
        case MemoryError():
            return BrokenTemplate(template, file, 0, "takes more memory than a template may have")
        case _:
            place, line = _place(error, file)
            return BrokenTemplate(template, place, line, str(error) or type(error).__name__)


def _place(error: Exception, file: str) -> tuple[str, int]:
    """Jinja rewrites tracebacks so that a template's frames carry its own file and line."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.endswith((".txt", ".html", ".json")):
            return frame.filename, frame.lineno or 0
    return file, 0
