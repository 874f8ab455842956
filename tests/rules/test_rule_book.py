"""What a rules file says of a chat, and why: the example that is shipped, order, `stop`, warnings."""

import hashlib
from pathlib import Path

import pytest

from relay.rules import Standing, read_rules
from relay.smartsupp import read_chat
from relay.transports.registry import TRANSPORTS
from tests.builders import a_chat
from tests.rules.books import TEMPLATES, a_book

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "rules.example.yaml").read_bytes()
SAMPLES = ROOT / "relay" / "demo" / "samples"

_DESTINATIONS = """\
destinations:
  desk: {email: {to: [desk@example.com, anna@example.com]}}
  room: {slack: {webhook: $ROOM}}
"""


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        ("documented.json", []),
        ("documented_old_variant.json", []),
        ("missed.json", [("Missed chats", "missed", "support-room", ("support-room",))]),
        (
            "low_rating_vip.json",
            [
                ("Bad ratings", "low_rating", "managers", ("managers",)),
                ("Bad ratings", "low_rating", "support-room", ("support-room",)),
                ("VIP customers", "vip", "vip-room", ("vip-room",)),
            ],
        ),
        (
            "offline.json",
            [
                (
                    "Offline messages to sales",
                    "offline",
                    "sales",
                    ("sales@example.com", "anna@example.com"),
                )
            ],
        ),
    ],
)
def test_the_example_tells_of_the_samples_that_matter(sample: str, told: list[object]) -> None:
    book = read_rules(EXAMPLE, "rules.example.yaml", transports=TRANSPORTS, templates=TEMPLATES)
    chat = read_chat((SAMPLES / sample).read_bytes())
    found = [(m.rule, m.template, m.destination, m.recipients) for m in book.matches(chat)]
    assert found == told


def test_the_example_has_nothing_to_complain_about() -> None:
    book = read_rules(EXAMPLE, "rules.example.yaml", transports=TRANSPORTS, templates=TEMPLATES)
    assert book.warnings == ()
    assert book.hash == hashlib.sha256(EXAMPLE).hexdigest()


def test_every_rule_that_holds_tells_each_of_its_destinations_in_order() -> None:
    book = a_book(
        f"{_DESTINATIONS}"
        "rules:\n"
        "  - {name: One, when: {missed: true}, send_to: [room, desk]}\n"
        "  - {name: Two, when: {missed: false}, send_to: desk}\n"
        "  - {name: Three, when: always, send_to: desk, template: missed}\n"
    )
    told = [
        (m.rule, m.template, m.destination, m.recipients) for m in book.matches(a_chat(missed=True))
    ]
    assert told == [
        ("One", "chat", "room", ("room",)),
        ("One", "chat", "desk", ("desk@example.com", "anna@example.com")),
        ("Three", "missed", "desk", ("desk@example.com", "anna@example.com")),
    ]


def test_a_rule_that_holds_and_stops_keeps_later_ones_from_being_asked() -> None:
    book = a_book(
        f"{_DESTINATIONS}"
        "rules:\n"
        "  - {name: First, when: {missed: true}, send_to: desk, stop: true}\n"
        "  - {name: Off, when: always, send_to: desk, enabled: false}\n"
        "  - {name: Later, when: always, send_to: room}\n"
    )
    verdicts = book.explain(a_chat(missed=True))
    assert [v.standing for v in verdicts] == [Standing.HOLDS, Standing.OFF, Standing.NOT_ASKED]
    assert verdicts[0].stops
    assert verdicts[2].stopped_by == "First"
    assert verdicts[2].findings == ()
    assert [m.rule for m in book.matches(a_chat(missed=True))] == ["First"]
    assert [m.rule for m in book.matches(a_chat(missed=False))] == ["Later"]


def test_every_condition_has_a_finding_even_after_one_has_decided() -> None:
    book = a_book(
        f"{_DESTINATIONS}"
        "rules:\n"
        "  - name: All\n"
        "    when: {missed: true, any: [{rating: 1}, {not: {offline: true}}], visitor.name: marta nowak}\n"
        "    send_to: [desk, room]\n"
    )
    (verdict,) = book.explain(a_chat(missed=False))
    missed, either, name = verdict.findings
    assert [str(missed), str(either), name.holds] == ["missed: no", "any of these: yes", True]
    rated, turned = either.parts
    assert str(rated) == "rated 1: no, not rated"
    assert [str(part) for part in turned.parts] == ["an offline message: no"]


@pytest.mark.parametrize(
    ("rules", "warning"),
    [
        ("rules: []", "rules.yaml:1:1: there are no rules: nothing will be sent"),
        (
            "rules: [{name: One, when: always, send_to: desk}]",
            "rules.yaml:3:3: no rule sends to 'room'",
        ),
        (
            (
                "rules:\n"
                "  - {name: One, when: always, send_to: [desk, room], stop: true}\n"
                "  - {name: Two, when: {missed: true}, send_to: desk}\n"
                "  - {name: Three, when: always, send_to: desk}\n"
            ),
            (
                "rules.yaml:6:5: the 2 rules from here on are never asked; "
                "'One' on line 5 matches every chat and says `stop`"
            ),
        ),
    ],
)
def test_what_can_be_used_but_was_hardly_meant_is_a_warning(rules: str, warning: str) -> None:
    book = a_book(_DESTINATIONS + rules)
    assert [str(found) for found in book.warnings] == [warning]


def test_a_file_with_very_many_warnings_can_be_used_all_the_same() -> None:
    rules = "".join(
        f"  - {{name: r{n}, when: {{rating: 9}}, send_to: [desk, room]}}\n" for n in range(300)
    )
    book = a_book(f"{_DESTINATIONS}rules:\n{rules}")
    assert len(book.rules) == 300
    assert len(book.warnings) == 100


def test_a_destination_that_is_only_a_fallback_is_used() -> None:
    book = a_book(
        "destinations:\n"
        "  desk: {email: {to: desk@example.com}}\n"
        "  room: {slack: {webhook: $ROOM}, fallback: desk}\n"
        "rules: [{name: One, when: always, send_to: room}]"
    )
    assert book.warnings == ()


def test_a_thousand_rules_tell_what_each_of_them_says() -> None:
    book = a_book(
        _DESTINATIONS
        + "rules:\n"
        + "".join(
            f"  - {{name: r{n}, when: {{message_count: {n}}}, send_to: [desk, room]}}\n"
            for n in range(1000)
        )
    )
    assert {m.rule for m in book.matches(a_chat())} == {"r2"}


def test_a_rule_that_always_holds_leaves_the_others_alone_unless_it_says_stop() -> None:
    book = a_book("""\
        destinations: {desk: {email: {to: desk@example.com}}}
        rules:
          - {name: Everything, when: always, send_to: desk}
          - {name: Missed, when: {missed: true}, send_to: desk}
        """)
    assert book.warnings == ()
