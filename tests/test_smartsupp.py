"""Hook bytes become a chat, whatever their shape; bytes that are no JSON object are refused in words."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.chat import Author, Variable
from relay.smartsupp import UnreadableHook, read_chat
from relay.smartsupp.hook_json import MAX_DEPTH
from tests.builders import a_chat, a_hook, a_wire_chat

SAMPLES = Path(__file__).parents[1] / "relay" / "demo" / "samples"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def test_the_documented_example_is_read_in_full() -> None:
    chat = read_chat(sample("documented"))
    assert (chat.account, chat.id) == ("208", "55039")
    assert chat.began == datetime(2015, 3, 27, 15, 33, 59, 703000, tzinfo=UTC)
    assert (chat.missed, chat.completed, chat.triggered, chat.answered_chat) == (
        False,
        True,
        True,
        True,
    )
    assert (chat.duration, chat.first_response) == (timedelta(seconds=36), timedelta(seconds=14))
    assert (chat.rating, chat.rating_comment) == (5, "")
    assert chat.visitor.variables["chatPackage"] == Variable(label="Chat Package", value="pro")
    assert [message.author for message in chat.messages] == [
        Author.VISITOR,
        Author.SYSTEM,
        Author.AUTOMATIC,
        Author.AGENT,
        Author.VISITOR,
        Author.SYSTEM,
    ]
    assert chat.messages[2].trigger == "Test Trigger"
    assert chat.oddities == ()


def test_both_wire_variants_make_the_same_chat() -> None:
    assert read_chat(sample("documented")) == read_chat(sample("documented_old_variant"))


def test_the_old_variants_group_key_is_the_group() -> None:
    wire = a_wire_chat()
    del wire["visitor"]["group"]
    wire["visitor"]["groupKey"] = "sales"
    assert read_chat(json.dumps(wire).encode()).visitor.group == "sales"


@pytest.mark.parametrize("comment", [None, ""])
def test_no_rating_comment_is_written_in_two_ways_and_means_one_thing(comment: str | None) -> None:
    assert a_chat(rating=5, rating_comment=comment).rating_comment == ""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON: Expecting value at line 1, column 1"),
        (b"hello", "not JSON: Expecting value at line 1, column 1"),
        (b'{"accountId": 1', "not JSON: Expecting ',' delimiter at line 1, column 16"),
        (b'{"accountId": NaN}', "not JSON: NaN is not a JSON number"),
        (b'{"accountId": Infinity}', "not JSON: Infinity is not a JSON number"),
        (b"null", "expected a JSON object, got null"),
        (b"[]", "expected a JSON object, got a list"),
        (b'"chat"', "expected a JSON object, got the text 'chat'"),
        (b"1", "expected a JSON object, got the number 1"),
        (b"true", "expected a JSON object, got true"),
        (b'{"a": "\xe9"}', "not UTF-8: byte 7 is 0xe9"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8: byte 0 is 0xff"),
        (b"[" * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
        (b'{"a":' * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
        (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", f"nested deeper than {MAX_DEPTH} levels"),
    ],
)
def test_what_is_no_json_object_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(UnreadableHook) as refused:
        read_chat(body)
    assert str(refused.value) == reason


def test_nesting_up_to_the_limit_is_read() -> None:
    deepest = b'{"channel": {"id": 7}, "a":' + b"[" * 63 + b"]" * 63 + b"}"
    assert read_chat(deepest).id == "7"


def test_a_small_stack_is_no_danger(tmp_path: Path) -> None:
    """IN-06: as threads have on Alpine, and where nothing else than a look before decoding helps."""
    script = tmp_path / "deep.py"
    script.write_text(
        "import threading\n"
        "from relay.smartsupp import UnreadableHook, read_chat\n"
        "def read():\n"
        "    for begin, end in ((b'[', b']'), (b'{\"a\":', b'}')):\n"
        "        for depth in (65, 500, 1000, 100_000):\n"
        "            try:\n"
        "                read_chat(b'{\"a\":' + begin * depth + b'1' + end * depth + b'}')\n"
        "            except UnreadableHook as refused:\n"
        "                print(refused)\n"
        "threading.stack_size(128 * 1024)\n"
        "thread = threading.Thread(target=read)\n"
        "thread.start()\n"
        "thread.join()\n",
        "utf-8",
    )
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, str(script)], env={"PYTHONPATH": root}, capture_output=True, text=True
    )
    assert done.returncode == 0, done
    assert done.stdout.splitlines() == [f"nested deeper than {MAX_DEPTH} levels"] * 8


@given(json_values)
def test_nesting_is_counted_as_a_decoder_counts_it(value: Any) -> None:
    def depth(inner: Any) -> int:
        inside = inner.values() if isinstance(inner, dict) else inner
        return 1 + max(map(depth, inside), default=0) if isinstance(inner, dict | list) else 0

    room = MAX_DEPTH - 1 - depth(value)
    around = '{"many": [' + "{}," * 80 + '0], "a": '
    for levels, fits in ((room, True), (room + 1, False)):
        text = f"{around}{'[' * levels}{json.dumps(value)}{']' * levels}}}"
        try:
            read_chat(text.encode("utf-8", "surrogatepass"))
        except UnreadableHook:
            assert not fits
        else:
            assert fits


def test_a_text_without_end_is_looked_at_once() -> None:
    with pytest.raises(UnreadableHook, match="not JSON"):
        read_chat(b'{"a": ' + b"[" * 60 + b"{" * 3 + b'"' + b'\\"' * 500_000)


def test_brackets_inside_texts_are_not_nesting() -> None:
    assert (
        a_chat(messages=[{"type": "visitor", "content": "[" * 500}]).messages[0].text == "[" * 500
    )


def test_a_byte_order_mark_before_the_json_is_skipped() -> None:
    assert read_chat(b"\xef\xbb\xbf" + a_hook(9)).id == "9"


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert read_chat(b'{"accountId": 1, "accountId": 2}').account == "2"


def test_a_cut_emoji_does_not_cost_the_chat() -> None:
    body = a_hook().replace(b"Hello, is anybody there?", b"Help \\ud83d")
    assert read_chat(body).messages[0].text == "Help �"


def test_an_emoji_written_as_two_escapes_is_whole() -> None:
    body = a_hook().replace(b"Hello, is anybody there?", b"\\ud83d\\ude00")
    assert read_chat(body).messages[0].text == "\N{GRINNING FACE}"


def test_nul_and_other_controls_and_direction_overrides_are_dropped() -> None:
    chat = a_chat(visitor={"name": "Mar\x00ta\u202e\x1b[31m", "note": "a\r\nb\u2028c"})
    assert chat.visitor.name == "Marta[31m"
    assert chat.visitor.note == "a\nb\nc"


@pytest.mark.parametrize(
    ("number", "rating", "odd"),
    [
        ("5", 5, False),
        ('"5"', 5, False),
        ("4.5", 4.5, False),
        ("null", None, False),
        ('""', None, False),
        ("true", None, True),
        ("[5]", None, True),
        ('"five"', None, True),
        ("1e400", None, True),
        (str(2**53), None, True),
        ("9" * 400, None, True),
        ("9" * 4500, None, True),
        ("9" * 5000, None, True),
    ],
)
def test_a_rating_of_any_type_is_read_or_named_as_odd(
    number: str, rating: float | None, odd: bool
) -> None:
    chat = read_chat(f'{{"channel": {{"id": 1, "rating": {number}}}}}'.encode())
    assert chat.rating == rating
    assert bool(chat.oddities) is odd


@pytest.mark.parametrize("when", [10**18, -(10**18), "yesterday", {}, float("1e300")])
def test_a_time_that_no_calendar_can_show_is_left_out_and_named(when: Any) -> None:
    chat = a_chat(beginAt=when)
    assert chat.began is None
    assert chat.oddities[0].startswith("beginAt: expected ")


def texts_as(text: str | None) -> bytes:
    """A hook in which every text is this one."""
    wire = a_wire_chat(rating_comment=text)
    wire["visitor"] = dict.fromkeys(wire["visitor"], text)
    wire["visitor"]["variables"] = {"plan": {"label": text, "value": text}}
    wire["paths"] = [{"url": text, "title": text}]
    said = {"name": text, "content": text, "triggeredBy": text, "sentAt": text}
    wire["messages"] = [{"type": "agent", **said}]
    wire["beginAt"] = wire["channel"]["duration"] = wire["channel"]["isMissed"] = text
    return json.dumps(wire).encode()


@pytest.mark.parametrize(
    "blank",
    [
        "",
        " ",
        "\n\t ",
        "\u00a0\u3000",
        "\u200b",
        "\ufeff\u2060 ",
        "\u2800",
        "\u3164",
        "\u202e",
        "\0",
    ],
)
def test_a_text_of_which_nothing_can_be_seen_is_missing_wherever_it_stands(blank: str) -> None:
    assert repr(read_chat(texts_as(blank))) == repr(read_chat(texts_as(None)))


@pytest.mark.parametrize("text", ["\u200b.", " \u0301", "\N{FAMILY}", "\ufe0f!", "0"])
def test_a_text_of_which_anything_can_be_seen_is_there(text: str) -> None:
    assert a_chat(rating_comment=text).rating_comment == text


HALF_PAST_NINE = datetime(2025, 11, 22, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        (1763803800, "seconds"),
        ("1763803800", "seconds"),
        (1763803800.0, "seconds"),
        (1763803800000000, "microseconds"),
        (1763803800000000000, "nanoseconds"),
        ("2025-11-22T09:30:00Z", "a date and time"),
        ("2025-11-22T09:30:00.000+00:00", "a date and time"),
        ("2025-11-22t10:30:00+01:00", "a date and time"),
        ("2025-11-22 09:30", "a date and time"),
        ("20251122T093000Z", "a date and time"),
    ],
)
def test_a_time_in_another_unit_or_form_is_read_and_named_as_odd(written: Any, unit: str) -> None:
    said = [{"type": "visitor", "content": "Hi", "sentAt": written}]
    chat = a_chat(beginAt=written, endAt=written, messages=said)
    assert (chat.began, chat.ended, chat.messages[0].sent_at) == (HALF_PAST_NINE,) * 3
    assert chat.oddities == tuple(
        f"{name}: expected milliseconds since 1970, got {unit}"
        for name in ("beginAt", "endAt", "messages[0].sentAt")
    )


@pytest.mark.parametrize("written", [1763803800000, "1763803800000", 1763803800000.0])
def test_milliseconds_are_milliseconds_however_they_are_spelled(written: Any) -> None:
    chat = a_chat(beginAt=written)
    assert (chat.began, chat.oddities) == (HALF_PAST_NINE, ())


@pytest.mark.parametrize("written", [0, 1, -1763803800, 20251122, True, [], "0000-00-00", "noon"])
def test_what_is_no_time_of_a_chat_is_left_out_and_not_of_1970(written: Any) -> None:
    chat = a_chat(beginAt=written)
    assert chat.began is None
    assert chat.oddities[0].startswith("beginAt: expected milliseconds since 1970, got ")


def test_a_chat_whose_whole_shape_changed_is_still_a_chat() -> None:
    chat = read_chat(
        b'{"accountId": {"id": 1}, "channel": "new", "visitor": [], "paths": {}, "messages": [1, null]}'
    )
    assert chat.account == "unknown"
    assert chat.id.startswith("sha256-")
    assert chat.oddities == (
        "channel: expected an object, got the text 'new'",
        "accountId: expected a number or text, got an object",
        "paths: expected a list of objects, got an object",
        "messages[0]: expected an object, got the number 1",
        "messages[1]: expected an object, got null",
    )


def test_a_chat_without_an_id_is_known_by_its_bytes() -> None:
    first, again, other = (read_chat(b'{"a": %d}' % n).id for n in (1, 1, 2))
    assert first == again != other


LONG = "x" * 99


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f'"{LONG}1"', f'"{LONG}2"'),
        (f'"{LONG * 9}1"', f'"{LONG * 9}2"'),
        ('"a b"', '"a  b"'),
        ('"a b"', '"a\u00a0b"'),
        ('"a"', '" a"'),
        ('"a"', r'"a\n"'),
        ('"a"', r'"a\u0000"'),
        ('"a"', r'"a\u202e"'),
        ('"a"', r'"a\ud83d"'),
        (r'"\ud83d"', r'"\ud83e"'),
        ("9" * 25, "9" * 24 + "8"),
        ("9" * 5000, "9" * 4999 + "8"),
        ("1e400", "1e401"),
    ],
)
def test_two_names_that_differ_anywhere_are_two(one: str, other: str) -> None:
    hook = '{{"accountId": {}, "channel": {{"id": {}}}, "visitor": {{"id": {}}}, "cut": "\\ud83d"}}'
    first, second = (read_chat(hook.format(*[name] * 3).encode()) for name in (one, other))
    assert first.account != second.account
    assert first.id != second.id
    assert first.visitor.id != second.visitor.id
    assert max(len(chat.id) for chat in (first, second)) <= 100


@given(st.lists(st.text(max_size=3) | st.integers(), min_size=2, max_size=2))
@settings(deadline=None)
def test_chats_are_one_where_their_names_are(names: list[str | int]) -> None:
    first, second = (a_chat(name).id for name in names)
    assert (first == second) is (str(names[0]) == str(names[1]))


def test_a_plain_name_stays_as_it_is_and_is_never_what_is_made_of_another() -> None:
    made = a_chat("a  b").id
    assert a_chat("chat-1 \u017d").id == "chat-1 \u017d"
    assert a_chat(made).id not in {made, "a  b"}
    assert a_chat(read_chat(b"{}").id).id != read_chat(b"{}").id


def test_variables_of_any_name_and_value_are_values() -> None:
    variables = {
        "items": {"label": "", "value": 3},
        "__class__": "x",
        "get": {"value": [1]},
        "": {},
    }
    read = a_chat(visitor={"variables": variables}).visitor.variables
    assert read["items"] == Variable(label="items", value=3)
    assert read["__class__"] == Variable(label="__class__", value="x")
    assert read["get"].value == ""


def test_of_very_many_variables_the_first_are_read_and_the_chat_says_so() -> None:
    chat = a_chat(visitor={"variables": {str(number): number for number in range(5000)}})
    assert len(chat.visitor.variables) == 1000
    assert chat.oddities == ("visitor.variables: 5000 of them; only the first 1000 were read",)


def test_an_empty_object_as_php_writes_it_is_no_oddity() -> None:
    assert a_chat(visitor={"variables": []}).oddities == ()


def test_a_message_of_an_unknown_type_is_kept() -> None:
    chat = a_chat(messages=[{"type": "bot", "content": "beep"}])
    assert (chat.messages[0].author, chat.messages[0].text) == (Author.UNKNOWN, "beep")
    assert chat.oddities == (
        "messages[0].type: expected 'visitor', 'agent' or 'system', got the text 'bot'",
    )


def test_of_very_many_messages_the_first_and_the_last_are_read() -> None:
    said = [{"type": "visitor", "content": str(number)} for number in range(12_000)]
    chat = a_chat(messages=said)
    assert len(chat.messages) == 10_000
    assert (chat.messages[0].text, chat.messages[-1].text) == ("0", "11999")
    assert chat.oddities == ("messages: 12000 of them; the middle was not read",)


@st.composite
def mutated_hooks(draw: st.DrawFn) -> bytes:
    """A hook of the documented shape in which some values were replaced by anything."""
    wire = a_wire_chat()
    for _ in range(draw(st.integers(1, 5))):
        place: Any = wire
        while True:
            key = draw(
                st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))
            )
            if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            place[key] = draw(json_values)
            break
        if not isinstance(place, dict | list):
            break
    return json.dumps(wire).encode("utf-8", "surrogatepass")


@given(mutated_hooks())
@settings(max_examples=300, deadline=None)
def test_any_json_object_is_a_chat_that_can_be_encoded(body: bytes) -> None:
    chat = read_chat(body)
    assert chat.account
    assert chat.id
    repr(chat).encode("utf-8")


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    try:
        read_chat(body)
    except UnreadableHook as refused:
        assert str(refused)


@pytest.mark.parametrize(
    ("sent", "order"),
    [
        ([3, 1, 2], "bca"),
        ([1, 1, 1], "abc"),
        ([2, None, 1], "cab"),
        ([None, 2, 1], "cab"),
        ([None, None, None], "abc"),
    ],
)
def test_messages_are_in_the_order_in_which_they_were_sent(
    sent: list[int | None], order: str
) -> None:
    at = [1_500_000_000_000 + each if each else None for each in sent]
    messages = [
        {"type": "visitor", "content": text, "sentAt": time}
        for text, time in zip("abc", at, strict=True)
    ]
    assert "".join(m.text for m in a_chat(messages=messages).messages) == order
