"""Names in single braces are printed as they stand; `relay check` says what to write."""

from pathlib import Path

import pytest

from relay.rendering.template_checks import single_braces


def found(folder: Path, file: str, source: str) -> list[tuple[int, str]]:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    return [(line, words) for _, line, words in single_braces(folder)]


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        ("From {city}\n", "{{ visitor.city }}"),
        ("From { visitor.city }\n", "{{ visitor.city }}"),
        ("From ${city}\n", "{{ visitor.city }}"),
        ("{{ chat.id }} of {name}", "{{ visitor.name }}"),
        ("{town}", "{{ visitor.city }}"),
        ("{Stars}", "{{ chat.rating }}"),
        ("{phone}", "{{ visitor.variables.phone }}"),
        ("{whatever}", "{{ whatever }}"),
    ],
)
def test_a_name_in_single_braces_is_found(tmp_path: Path, source: str, meant: str) -> None:
    ((line, words),) = found(tmp_path, "missed/subject.txt", source)
    assert line == 1
    assert words.endswith(f"is printed as it stands; write {meant}")


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "missed/subject.txt",
            '{{ _("{who} waited", who=visitor.name) }} {{ visitor.city }} {# {city} #}',
        ),
        ("missed/subject.txt", "{% trans who=visitor.name %}{{ who }}{% endtrans %} { } {1} {a b}"),
        ("missed/body.html", "<style>.a {color: red} .b {x}</style><p>{{ visitor.city }}</p>"),
        ("missed/slack.json", '{"a": {city}}'),
        (".hidden/subject.txt", "{city}"),
        ("missed/subject.txt", "{{ broken"),
    ],
)
def test_other_braces_are_left_alone(tmp_path: Path, file: str, source: str) -> None:
    assert found(tmp_path, file, source) == []


def test_the_line_is_named(tmp_path: Path) -> None:
    source = "{{ chat.id }}\nA\n<style>\na {x}\n</style>\n{city}\n"
    assert [line for line, _ in found(tmp_path, "a/body.html", source)] == [6]


def test_the_shipped_templates_have_none() -> None:
    assert list(single_braces(Path(__file__).parents[2] / "templates")) == []
