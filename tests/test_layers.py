"""How the package hangs together: imports point one way, and nothing grows out of sight."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "relay"

ROWS: tuple[tuple[frozenset[str], ...], ...] = tuple(
    tuple(frozenset(part.split("+")) for part in row.split())
    for row in (
        "timing",
        "chat clock crash_points destination files mail_address preview.lookalike redaction relay text",
        "languages notification settings smartsupp",
        "links logs rules",
        "rendering transports",
        "outbox rendering.isolation",
        "intake metrics",
        "alerts",
        "delivery",
        "preview runtime",
        "services",
        "web",
        "demo",
        "console",
        "cli+__main__",
    )
)
"""From the bottom up. A part imports from rows below its own; those that share a row never one another."""

IMPORTS_WITHIN_FUNCTIONS = {
    "relay.outbox.migrations.upgrade": "Alembic takes 0.2 s to import, and most starts migrate nothing",
    "relay.outbox.migrations.upgrade_postgres": "the same",
    "relay.outbox._open_postgres": "a relay on SQLite needs no driver of another database",
    "relay.outbox.database_session._Server.__init__": "the same",
    "relay.console._open_for": "who has no console pays nothing for it, in time or memory",
    "relay.cli.user._hashed_password": "argon2 and the console take 0.3 s to import, and few commands hash a password",
    "relay.cli.deliveries._refuse_unknown": "what reads the rules takes 0.3 s to import, and most names are known",
    "relay.cli.send_again._ready": "the same, and `relay resume` needs no rules",
    "relay.cli.send_again._why": "the same",
    "relay.cli.deliveries_words._cure": "the transports take 0.3 s to import, and most lists need no cure",
}

MOST_LINES = 350
MOST_LINES_OF_A_FUNCTION = 50
LINES_OF_95_IN_100 = 22

LISTS = {
    "relay.outbox.migrations.versions.v0001_first.upgrade": "one table after another",
    "relay.outbox.user_tables.people_tables": "the same",
}
"""Functions that decide nothing, and would not be easier to read in pieces."""

MAY_SAY_CHANNEL = {
    "relay/smartsupp/": "the wire's word, read here and turned into plain ones",
    "relay/chat.py": "shows how an oddity of the wire is told",
    "relay/rules/fields.py": "the wire's names, so that they are refused with the name to write instead",
    "relay/rendering/made_up_chats.py": "what a visitor types who wants to ring everybody in Slack",
    "relay/transports/slack/": "Slack's own word",
    "relay/transports/teams/": "Teams' own word, as its pages say it",
    "relay/services/trial_send.py": "the wire's word, in a hook that is made here; Teams' own word",
    "relay/destination.py": "the option of the Slack transport, as an example",
    "relay/preview/lookalike/slack_post.py": "Slack's own word",
    "relay/preview/lookalike/markup.py": "Slack's own word",
    "relay/preview/catchers.py": "Slack's own word, in what is sent to it",
    "relay/preview/received.py": "Slack's own word",
}

VAGUE_NAMES = {"found", "told", "said", "what", "one"}
MAY_BE_CALLED_SO: Mapping[str, set[str]] = {
    "relay.transports.webhook.pack": {"what"},
    "relay.console.json_api.chat_operations": {"told"},
    "relay.console.json_api.health_operations": {"told"},
    "relay.console.json_api.job_operations": {"found"},
    "relay.console.json_api.problem_details": {"what"},
    "relay.console.json_api.sentence_operations": {"said"},
}
"""Members of JSON that programs read."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def imported_by(node: ast.AST) -> Iterator[str]:
    """Modules of ours that an import statement names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in SOURCES)
    if isinstance(node, ast.ImportFrom) and node.module in SOURCES:
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole in SOURCES else node.module


@cache
def imports() -> Mapping[str, frozenset[str]]:
    return {
        name: frozenset(found for node in ast.walk(tree) for found in imported_by(node)) - {name}
        for name, tree in trees().items()
    }


PLACES = {name: (row, part) for row, parts in enumerate(ROWS) for part in parts for name in part}


def part_of(module: str) -> str:
    """The name in ROWS that a module belongs to: the longest one that its own begins with."""
    words = module.split(".")[1:] or ["relay"]
    names = (".".join(words[:length]) for length in range(len(words), 0, -1))
    return next((name for name in names if name in PLACES), words[0])


def place_of(module: str) -> tuple[int, frozenset[str]]:
    return PLACES[part_of(module)]


def functions(tree: ast.AST, within: str = "") -> Iterator[tuple[str, Function]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield within + node.name, node
        if isinstance(node, Function | ast.ClassDef):
            yield from functions(node, f"{within}{node.name}.")


def test_every_module_has_a_place() -> None:
    placed = {name for row in ROWS for part in row for name in part}
    assert {part_of(name) for name in SOURCES} == placed


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_down(module: str) -> None:
    row, part = place_of(module)
    wrong = [
        other
        for other in imports()[module]
        if place_of(other)[1] != part and place_of(other)[0] >= row
    ]
    assert wrong == []


def test_no_module_imports_itself_by_a_detour() -> None:
    tuple(TopologicalSorter(imports()).static_order())  # raises CycleError, which names the detour


def test_the_rows_were_looked_at() -> None:
    assert "relay.chat" in imports()["relay.smartsupp.chat_reader"]
    assert "relay.transports.email.transport" in imports()["relay.transports.registry"]
    assert place_of("relay.web.app") > place_of("relay.outbox.writer")


def test_nothing_is_imported_within_a_function_without_a_reason() -> None:
    found = {
        f"{module}.{name}"
        for module, tree in trees().items()
        for name, function in functions(tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert found <= IMPORTS_WITHIN_FUNCTIONS.keys()


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_can_be_read_at_one_sitting(module: str) -> None:
    assert len(SOURCES[module].read_text(encoding="utf-8").splitlines()) < MOST_LINES


def test_no_function_is_long_and_most_are_short() -> None:
    lengths = {
        f"{module}.{name}": (function.end_lineno or 0) - function.lineno + 1
        for module, tree in trees().items()
        for name, function in functions(tree)
    }
    too_long = {name for name, length in lengths.items() if length > MOST_LINES_OF_A_FUNCTION}
    assert too_long <= LISTS.keys()
    shortest_first = sorted(lengths.values())
    assert shortest_first[len(lengths) // 2] < 12
    assert shortest_first[len(lengths) * 95 // 100] <= LINES_OF_95_IN_100


def test_the_wires_word_channel_stays_where_it_belongs() -> None:
    saying = [
        str(path.relative_to(ROOT))
        for path in SOURCES.values()
        if re.search(r"(?i)(?<![./])\bchannels?\b(?!\.md)", path.read_text(encoding="utf-8"))
    ]
    assert [path for path in saying if not path.startswith(tuple(MAY_SAY_CHANNEL))] == []


@pytest.mark.parametrize("word", ["payload", "conversation", "notifier", "courier"])
def test_a_thing_has_one_name(word: str) -> None:
    """Docs and code say hook, chat, transport and dispatcher for these. Slack's methods keep their names."""
    saying = [
        str(path.relative_to(ROOT))
        for path in SOURCES.values()
        if re.search(rf"(?i)(?<!\.)\b{word}s?\b(?!\.\w)", path.read_text(encoding="utf-8"))
    ]
    assert saying == []


def names_in(tree: ast.Module) -> Iterator[str]:
    """What a module calls its functions, classes, parameters, variables and fields."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.arg():
                yield node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr


@pytest.mark.parametrize("module", SOURCES)
def test_a_name_says_what_kind_of_thing_it_is(module: str) -> None:
    names = {name.strip("_").lower() for name in names_in(trees()[module])}
    assert names & VAGUE_NAMES <= MAY_BE_CALLED_SO.get(module, set())


def test_the_picture_in_contributing_shows_the_rows() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    picture = re.sub(
        r"\(.*?\)", "", text.partition("Imports point one way:\n\n```text\n")[2].partition("```")[0]
    )
    below = -1
    for shown in picture.split("<-"):
        groups = [re.findall(r"\w+(?:\.\w+)*", group) for group in shown.split("|")]
        rows = {place_of(f"relay.{name}")[0] for group in groups for name in group}
        assert min(rows) > below, shown
        if len(groups) > 1:  # what stands beside one another: none imports another
            assert len(rows) == 1, shown
        below = max(rows)
    assert below == len(ROWS) - 1
