"""What tells a delivery from all others at its server."""

from datetime import timedelta

from relay.delivery.attempt import identity_of
from relay.intake import message_id
from tests.builders import NOON, a_chat, a_delivery


def test_deliveries_about_one_chat_share_a_thread_and_those_of_another_account_do_not() -> None:
    desk = identity_of(a_delivery(account="208", chat="7", destination="desk"), "")
    room = identity_of(a_delivery(account="208", chat="7", destination="room"), "")
    other = identity_of(a_delivery(account="209", chat="7", destination="desk"), "")
    assert desk.thread_id == room.thread_id != other.thread_id


def test_a_visitors_chats_share_a_thread_and_those_of_nobody_known_do_not() -> None:
    first = identity_of(a_delivery(chat="7"), "88120")
    second = identity_of(a_delivery(chat="8"), "88120")
    assert first.visitor_thread_id == second.visitor_thread_id
    assert first.thread_id != second.thread_id
    assert identity_of(a_delivery(chat="7"), "").visitor_thread_id == ""


def test_the_date_is_that_of_the_first_owing_in_whole_seconds() -> None:
    queued = NOON + timedelta(milliseconds=987)
    assert identity_of(a_delivery(created_at=queued, attempt=9), "").date == NOON


def test_a_message_id_names_as_much_of_a_long_domain_as_fits() -> None:
    def domain_of(domain: str) -> str:
        made = message_id(a_chat(), rule="r", destination="d", recipient="a@b.cz", domain=domain)
        return made.partition("@")[2]

    long = "relay.very-long-department.of-a-long-company.example.com"
    assert domain_of(long) == "of-a-long-company.example.com"
    assert domain_of("example.com") == "example.com"
    assert domain_of("") == "relay.invalid"
