"""Who gets a delivery instead of its recipient."""

from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec import structs

from relay.chat import Visitor
from relay.delivery.redirect import Redirect
from relay.destination import Destination
from relay.outbox import NewDelivery
from relay.outbox.delivery_types import ITSELF, visitor_key
from relay.timing.plan import Mute
from tests.builders import NOON, a_delivery, a_hook
from tests.rules.books import a_book
from tests.timing.zones import at

RULES = a_book("""
    recipient_domains: [example.com]
    destinations:
      desk: {email: {to: [anna@example.com, petr@example.com]}}
      owner: {email: {to: "{{ visitor.variables.owner }}"}, fallback: desk}
      owner-only: {email: {to: "{{ visitor.variables.owner }}"}}
      room: {slack: {webhook: $ROOM}}
    rules: [{name: All, when: always, send_to: [desk, owner, owner-only, room]}]
""")
HOUR = timedelta(hours=1)
REDIRECT = Redirect(RULES, "example.org")


def queued(*, fallback: str = "desk", **delivery: object) -> list[NewDelivery]:
    failed = Destination(name="room", transport="slack", options={}, fallback=fallback)
    return list(REDIRECT.to_fallback(a_delivery(**delivery), failed, NOON))


def test_each_recipient_of_the_fallback_gets_the_same_for_the_same_rule() -> None:
    found = queued(rule="Missed chats", template="missed", body=a_hook(7))
    assert [one.recipient for one in found] == ["anna@example.com", "petr@example.com"]
    assert {(one.destination, one.instead_of) for one in found} == {("desk", "room")}
    assert {(one.rule, one.template) for one in found} == {("Missed chats", "missed")}


def test_a_fallback_that_reaches_nobody_gives_way_to_its_own() -> None:
    found = queued(fallback="owner", body=a_hook(7))
    assert {(one.destination, one.instead_of) for one in found} == {("desk", "room")}
    chosen = {"variables": {"owner": {"label": "Owner", "value": "eva@example.com"}}}
    (found_owner,) = queued(fallback="owner", body=a_hook(7, visitor=chosen))
    assert (found_owner.destination, found_owner.recipient) == ("owner", "eva@example.com")
    assert queued(fallback="owner-only", body=a_hook(7)) == []


def test_where_no_fallback_is_named_or_it_has_left_the_rules_nothing_is_queued() -> None:
    assert queued(fallback="") == []
    assert queued(fallback="gone") == []


def test_two_alerts_that_failed_are_two_messages_at_the_fallback() -> None:
    first, *_ = queued(account=ITSELF, chat="destination broken desk, 12:00", body=b"{}")
    second, *_ = queued(account=ITSELF, chat="destination broken desk, 13:00", body=b"{}")
    assert first.message_id != second.message_id


def muting(destination: str = "desk", **changes: object) -> Mute:
    mute = Mute(id=3, begins=NOON, until=NOON + HOUR, because="x", by="Anna")
    return structs.replace(mute, destination=destination, **changes)


@pytest.mark.parametrize(
    ("mute", "state"),
    [
        (muting(), "scheduled"),
        (muting(then="nothing"), "left out"),
        (muting(rule="Missed chats"), "scheduled"),
        (muting(rule="Another"), "queued"),
        (muting("room"), "queued"),  # it was asked when the chat came in
        (muting("", rule="Missed chats"), "queued"),
        (muting(until=NOON), "queued"),
    ],
)
def test_a_fallback_that_is_muted_is_told_at_the_end(mute: Mute, state: str) -> None:
    redirect = replace(REDIRECT, mutes=(mute,))
    room = Destination(name="room", transport="slack", options={}, fallback="desk")
    delivery = a_delivery(rule="Missed chats", body=a_hook(7))
    for found in redirect.to_fallback(delivery, room, NOON):
        assert found.plan.state == state
        assert found.plan.in_digest is (state == "scheduled")


@pytest.mark.parametrize(
    ("chat", "mute", "state"),
    [
        ("destination broken", muting(), "queued"),
        ("destination broken", muting(alerts_too=True), "scheduled"),
        ("destination broken", muting(alerts_too=True, then="nothing"), "left out"),
        ("digest:1", muting(), "scheduled"),
        ("digest:1", muting(then="nothing"), "left out"),
        ("digest:1", muting(rule="Missed chats"), "queued"),
    ],
)
def test_alerts_and_digests_wait_by_themselves_for_a_muted_fallback(
    chat: str, mute: Mute, state: str
) -> None:
    redirect = replace(REDIRECT, mutes=(mute,))
    room = Destination(name="room", transport="slack", options={}, fallback="desk")
    found = redirect.to_fallback(a_delivery(account=ITSELF, chat=chat, body=b"{}"), room, NOON)
    assert [(one.plan.state, one.plan.in_digest) for one in found] == [(state, False)] * 2


def test_a_visitor_is_known_to_the_limits_of_whoever_gets_it_instead() -> None:
    body = a_hook(7, visitor={"email": "Jana@example.com"})
    (other, _) = REDIRECT.to_other(a_delivery(body=body), "desk", NOON)
    assert {other.visitor, *(one.visitor for one in queued(body=body))} == {
        visitor_key(Visitor(email="jana@example.com"))
    }


def moved(**delivery: object) -> list[tuple[str, str]] | None:
    found = REDIRECT.to_present(a_delivery(**delivery))
    return None if found is None else [(one.destination, one.recipient) for one in found]


def test_what_is_queued_for_a_present_recipient_stays_there() -> None:
    assert moved(destination="desk", recipient="petr@example.com") is None
    assert moved(destination="desk", recipient="Petr@Example.com") is None
    assert moved(destination="room", recipient="room") is None
    assert moved(destination="gone", recipient="anna@example.com") is None


def test_what_is_queued_for_another_goes_to_each_present_recipient() -> None:
    both = [("desk", "anna@example.com"), ("desk", "petr@example.com")]
    assert moved(destination="desk", recipient="typo@example.com") == both
    assert moved(destination="desk", recipient="desk") == both
    assert moved(destination="room", recipient="anna@example.com") == [("room", "room")]
    assert (
        moved(account=ITSELF, chat="silence", body=b"{}", destination="desk", recipient="x") == both
    )


def test_what_stands_in_for_another_still_does_when_it_moves() -> None:
    (found,) = (
        REDIRECT.to_present(
            a_delivery(destination="room", recipient="x@example.com", instead_of="desk")
        )
        or ()
    )
    assert found.instead_of == "desk"


def test_a_fallback_waits_for_its_own_hours_but_not_for_urgent_rules_and_alerts() -> None:
    rules = a_book("""
        schedules: {office: {days: mon-fri, hours: 08:00-17:00}}
        destinations:
          room: {slack: {webhook: $ROOM}, fallback: desk}
          desk: {email: {to: anna@example.com}, hours: office}
        rules:
          - {name: Missed, when: always, send_to: room}
          - {name: VIP, when: always, send_to: room, urgent: true}
    """)
    redirect, saturday = Redirect(rules, "example.org"), at("2026-11-28T10:00Z")

    def plans(**delivery: object) -> list[tuple[str, object]]:
        failed = a_delivery(destination="room", **delivery)
        found = [
            *redirect.to_fallback(failed, rules.destinations["room"], saturday),
            *redirect.to_other(failed, "desk", saturday),
        ]
        return [(one.plan.state, one.plan.due) for one in found]

    monday = at("2026-11-30T08:00Z")
    assert plans(rule="Missed", body=a_hook(7)) == [("scheduled", monday)] * 2
    assert plans(rule="VIP", body=a_hook(7)) == [("queued", None)] * 2
    assert plans(rule="Missed", account=ITSELF, body=b"") == [("queued", None)] * 2
