"""A hook of the documented shape is read in one pass, and says the same as the lenient reader would."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.smartsupp import UnreadableHook, read_chat, read_leniently
from relay.smartsupp.hook_json import MAX_OBJECTS, MAX_VARIABLES, decoded
from tests.builders import a_hook, a_wire_chat

SAMPLES = sorted((Path(__file__).parents[1] / "relay" / "demo" / "samples").glob("*.json"))

ODD_VALUES = (
    *(b"null", b"true", b"false", b"0", b"1", b"-1", b"-0", b"5.0", b"4.5", b"1e2", b"-0.0"),
    *(b"1e400", b"NaN", b"Infinity", b"01", b"1.", b"-", b"%d" % 2**53, b"%d" % (2**53 - 1)),
    *(b"%d" % 2**63, b"%d" % 2**64, b"9" * 30, b"9" * 400, b"9" * 5000, b"1763800000"),
    *(b"1763800000000", b"1763800000000000", b"1763800000000.5", b'"2025-11-22T09:30:00Z"'),
    *(b'""', b'" "', b'"\\u200b"', b'"\\ud83d"', b'"\\ud83d\\ude00"', b'"\\u0000"', b'"\\q"'),
    *(
        b'"\x01"',
        b'"\xff"',
        b'"\xc5\xbe"',
        b'"\xed\xa0\xbd"',
        b'"a  b\\r\\nc "',
        b'"agent"',
        b'"1"',
    ),
    *(b'"true"', b'"%b"' % (b"x" * 501), b'"%b"' % (b"x" * 100_001), b"[]", b"{}", b"[{}]"),
    *(b"[null]", b'{"a": null}', b'{"a": {}, "a ": 1, "a": {"value": 2}}', b"[" * 63 + b"]" * 63),
    *(b'{"a":' * 63 + b"1" + b"}" * 63, b"[[[", b'{"type": "agent", "triggeredBy": "Hi"}'),
    b"[%b]" % b",".join([b"{}"] * (MAX_OBJECTS + 1)),
    b"[%b]" % b",".join([b'{"type": "agent"}'] * 70),
    b"{%b}" % b",".join(b'"%d": {}' % number for number in range(MAX_VARIABLES + 1)),
)
"""As they stand on the wire; some are no JSON."""

written_values = st.sampled_from(ODD_VALUES) | st.builds(
    lambda value: json.dumps(value).encode(),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
)


def written(value: Any, changes: dict[tuple[Any, ...], bytes], path: tuple[Any, ...] = ()) -> bytes:
    """JSON with other bytes at some places."""
    if path in changes:
        return changes[path]
    if isinstance(value, dict):
        members = [
            b"%b: %b" % (json.dumps(key).encode(), written(each, changes, (*path, key)))
            for key, each in value.items()
        ]
        more = changes.get((*path, MORE))
        return b"{%b}" % b", ".join([*members, more] if more else members)
    if isinstance(value, list):
        inner = [written(each, changes, (*path, at)) for at, each in enumerate(value)]
        return b"[%b]" % b", ".join(inner)
    return json.dumps(value).encode()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if not isinstance(value, dict | list):
        return [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


MORE = object()
"""A place for what is written besides, at the end of an object."""
WIRE = a_wire_chat()
PLACES = places(WIRE)
OBJECTS = [(), ("channel",), ("visitor",), ("visitor", "variables"), ("messages", 1), ("paths", 0)]


@st.composite
def hooks(draw: st.DrawFn) -> bytes:
    """Of the documented shape but for a few places: another value, a key more, or the same once more."""
    changes = draw(st.dictionaries(st.sampled_from(PLACES), written_values, max_size=3))
    for place in draw(st.lists(st.sampled_from(OBJECTS), max_size=2)):
        names = [path[-1] for path in PLACES if path and path[:-1] == place]
        name = draw(st.sampled_from([*names, "new"]) | st.text(max_size=5))
        changes[*place, MORE] = b"%b: %b" % (json.dumps(name).encode(), draw(written_values))
    return draw(st.sampled_from([b"", b" ", b"\n"])) + written(WIRE, changes)


def read_twice(hook: bytes) -> None:
    try:
        leniently = read_leniently(hook)
    except UnreadableHook as refused:
        with pytest.raises(UnreadableHook) as again:
            read_chat(hook)
        assert str(again.value) == str(refused)
    else:
        assert repr(read_chat(hook)) == repr(leniently)


@given(hooks())
@settings(max_examples=300, deadline=None)
@example(a_hook(filling="x" * 5000))
def test_both_readers_make_the_same_chat(hook: bytes) -> None:
    read_twice(hook)


@pytest.mark.parametrize("odd", ODD_VALUES, ids=range(len(ODD_VALUES)))
def test_both_readers_agree_on_an_odd_value_wherever_it_stands(odd: bytes) -> None:
    for place in PLACES:
        read_twice(written(WIRE, {place: odd}))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_has_the_documented_shape(sample: Path) -> None:
    assert decoded(sample.read_bytes()) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"visitor": {"variables": []}},
        {"rating": 5, "rating_comment": "Great \N{GRINNING FACE}"},
        {"something": {"new": [1, 2.5, None, "\u017elu\u0165"]}},
        {"messages": [{"type": "visitor", "content": "Hi"}] * 200},
    ],
)
def test_what_smartsupp_may_add_or_leave_empty_costs_no_second_look(changes: Any) -> None:
    assert decoded(a_hook(**changes)) is not None
