"""What libyaml says of a broken file, in words for people who don't know YAML's grammar."""

import yaml

_QUOTES = "put quotes around a text that holds special characters"

# The beginning of what libyaml says -> what is wrong, what to do. First match wins.
_WORDS = (
    (
        "could not find expected ':'",
        "a ':' is missing after this or the line before",
        "write `key: value`, with a space after the colon",
    ),
    (
        "did not find expected key",
        "this line is not indented like its neighbours",
        "keys that belong together begin in the same column; a quoted text ends with its quote",
    ),
    (
        "did not find expected '-'",
        "this line does not belong to the list above it",
        "each entry of a list begins with '- ' in the same column",
    ),
    (
        "block sequence entries are not allowed",
        "a list can't begin here",
        "begin it on a new line, each entry with '- '",
    ),
    ("did not find expected ',' or ']'", "a ',' or the closing ']' is missing", _QUOTES),
    ("did not find expected ',' or '}'", "a ',' or the closing '}' is missing", _QUOTES),
    (
        "found unexpected end of stream",
        "the file ends inside a quoted text",
        "close it with the quote that it began with",
    ),
    (
        "did not find expected alphabetic or numeric",
        "a text can't begin with * or & here",
        "put quotes around it",
    ),
    ("did not find expected node content", "a value is missing here", _QUOTES),
    (
        "found invalid Unicode character escape code",
        "this escape stands for no character",
        "write the character itself",
    ),
    (
        "found unknown escape character",
        "a backslash in double quotes begins an escape that YAML does not know",
        "use single quotes: '\\d+'",
    ),
    ("found undefined tag handle", "a text can't begin with ! here", "put quotes around it"),
    (
        "did not find expected <document start>",
        "this does not belong to what stands above",
        "is a line not indented like its neighbours?",
    ),
)


def in_plain_words(error: yaml.MarkedYAMLError, text: str) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    said = error.problem or error.context or "it can't be read"
    if said.startswith(("found character", "found a tab")):
        return _bad_start(error, text)
    before = _line_before(error.problem_mark, text)
    if said.startswith("mapping values are not allowed"):
        return _colon(before)
    if said.startswith("did not find expected key") and before.rstrip().endswith(("'", '"')):
        return "text goes on after the closing quote", "put all of it between the quotes"
    for beginning, what, hint in _WORDS:
        if said.startswith(beginning):
            return _with_opening(error, what), hint
    return f"this is not YAML: {said}", ""


def _line_before(mark: yaml.Mark | None, text: str) -> str:
    """What stands on the line of a mark, before it."""
    before = text[max(0, mark.index - 1000) : mark.index] if mark else ""
    return before.splitlines()[-1] if before and not before.endswith("\n") else ""


def _colon(before: str) -> tuple[str, str]:
    if ": " in before:
        return (
            "a second ': ' on one line",
            "put quotes around a text that holds ': ', and begin each key on its own line",
        )
    return (
        "this line goes on with the text of the line above",
        "is a ':' missing there, or is this line not indented like its neighbours?",
    )


def _bad_start(error: yaml.MarkedYAMLError, text: str) -> tuple[str, str]:
    mark = error.problem_mark
    character = text[mark.index : mark.index + 1] if mark else ""
    if character == "\t":
        return "there is a tab here", "indent with spaces"
    return f"a text can't begin with {character}", "put quotes around it"


def _with_opening(error: yaml.MarkedYAMLError, what: str) -> str:
    """Says where the quote or bracket was opened, if that is another line."""
    opened, found = error.context_mark, error.problem_mark
    brackets = ("while parsing a flow", "while scanning a quoted")
    if not opened or not found or not (error.context or "").startswith(brackets):
        return what
    return f"{what} (opened on line {opened.line + 1})" if opened.line != found.line else what
