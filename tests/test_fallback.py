"""What is owed to another destination when a delivery has failed for good."""

from relay.destination import Destination
from relay.fallback import owe_fallback
from relay.outbox import NewDelivery
from relay.outbox.values import ITSELF
from relay.rules.recipients import Recipients
from tests.builders import a_delivery, a_hook

RECIPIENTS = {
    "desk": Recipients(("anna@example.com", "petr@example.com")),
    "room": Recipients(("room",)),
}


def owed(*, fallback: str = "desk", **delivery: object) -> list[NewDelivery]:
    failed = Destination(name="room", transport="slack", options={}, fallback=fallback)
    return list(owe_fallback(a_delivery(**delivery), failed, RECIPIENTS, "example.org"))


def test_each_recipient_of_the_fallback_is_owed_the_same_for_the_same_rule() -> None:
    found = owed(rule="Missed chats", template="missed", body=a_hook(7))
    assert [one.recipient for one in found] == ["anna@example.com", "petr@example.com"]
    assert {(one.destination, one.instead_of) for one in found} == {("desk", "room")}
    assert {(one.rule, one.template) for one in found} == {("Missed chats", "missed")}


def test_where_no_fallback_is_named_or_it_has_left_the_rules_nothing_is_owed() -> None:
    assert owed(fallback="") == []
    assert owed(fallback="gone") == []


def test_two_alerts_that_failed_are_two_messages_at_the_fallback() -> None:
    first, *_ = owed(account=ITSELF, chat="destination broken desk, 12:00", body=b"{}")
    second, *_ = owed(account=ITSELF, chat="destination broken desk, 13:00", body=b"{}")
    assert first.message_id != second.message_id
