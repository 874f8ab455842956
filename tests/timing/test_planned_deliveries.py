"""Whom the rules tell of a chat and when, as it comes in."""

from pathlib import Path

from relay.intake import planned_deliveries, take
from relay.outbox import NewDelivery, Outbox
from relay.rules import RuleBook
from relay.rules.timed_evaluation import Judging
from relay.timing.plan import NOW, Mute
from tests.builders import a_chat, a_hook
from tests.rules.books import a_book
from tests.running import rows
from tests.timing.zones import at

RULES = """
    timezone: Europe/Prague
    recipient_domains: [example.com]
    schedules:
      office: {days: mon-fri, hours: 08:00-17:00}
      early: {days: mon-fri, hours: 06:00-14:00}
    destinations:
      room: {slack: {webhook: $ROOM}, hours: office}
      sales: {email: {to: [a@example.com, b@example.com]}, hours: office, outside_hours: duty}
      duty: {email: {to: duty@example.com}, hours: early, outside_hours: night}
      night: {email: {to: night@example.com}}
      owner: {email: {to: "{{ visitor.variables.owner }}"}, fallback: night}
      alone: {email: {to: "{{ visitor.variables.owner }}"}}
      to-owner: {slack: {webhook: $ROOM}, hours: office, outside_hours: owner}
      to-nobody: {slack: {webhook: $ROOM}, hours: office, outside_hours: alone}
    rules:
      - {name: Missed, when: {missed: true}, send_to: [room, sales]}
      - {name: Urgent, when: {offline: true}, send_to: [room, sales], urgent: true}
      - {name: Both, when: {dropped: true}, send_to: [sales, night]}
      - {name: Chosen, when: {completed: true}, send_to: [to-owner, to-nobody]}
    mutes:
      - {because: Spam, by: Anna, from: 2026-11-27 00:00, until: 2026-12-01 00:00, what: {when: {visitor.email: spam@example.com}}}
"""
SATURDAY, MONDAY = at("2026-11-28 10:00"), at("2026-11-30 08:00")


def deliveries(
    rules: RuleBook, *, now: str = "2026-11-28 10:00", mutes: tuple[Mute, ...] = (), **chat: object
) -> list[NewDelivery]:
    read = a_chat(7, **{"completed": False, **chat})
    return list(
        planned_deliveries(rules, read, rules.matches(read), "example.org", mutes=mutes, now=at(now))
    )  # fmt: skip


def told(found: list[NewDelivery]) -> list[tuple[str, str]]:
    return [(one.recipient, one.plan.state) for one in found]


def test_the_destination_says_when() -> None:
    rules = a_book(RULES)
    assert told(deliveries(rules, missed=True, now="2026-11-27 10:00")) == [
        ("room", "queued"),
        ("a@example.com", "queued"),
        ("b@example.com", "queued"),
    ]
    room, night = deliveries(rules, missed=True)
    assert (room.plan.state, room.plan.due, room.plan.why) == ("scheduled", MONDAY, "hours")
    # Nobody is on duty either at that time, so whom the duty names instead.
    assert (night.destination, night.plan, night.instead_of) == ("night", NOW, "")
    assert night.message_id != room.message_id
    early = deliveries(rules, missed=True, now="2026-11-30 07:00")
    assert told(early) == [("room", "scheduled"), ("duty@example.com", "queued")]


def test_an_urgent_rule_does_not_wait_and_goes_nowhere_else() -> None:
    found = deliveries(a_book(RULES), offline=True)
    assert [one.plan is NOW for one in found] == [True] * 3
    assert {one.destination for one in found} == {"room", "sales"}


def test_who_is_told_instead_is_told_once_by_each_rule() -> None:
    assert told(deliveries(a_book(RULES), dropped=True)) == [("night@example.com", "queued")]


def test_where_nobody_is_to_be_told_instead_it_waits() -> None:
    nobody = deliveries(a_book(RULES), completed=True)
    assert told(nobody) == [("night@example.com", "queued"), ("to-nobody", "scheduled")]
    assert nobody[0].instead_of == "owner"
    assert nobody[1].plan.due == MONDAY
    chosen = {"variables": {"owner": {"label": "Owner", "value": "eva@example.com"}}}
    eva = deliveries(a_book(RULES), completed=True, visitor=chosen)
    assert told(eva) == [("eva@example.com", "queued")] * 2


def test_a_mute_with_a_condition_holds_for_the_chats_that_meet_it() -> None:
    rules = a_book(RULES)
    friday = "2026-11-27 10:00"
    plain = deliveries(rules, missed=True, now=friday, mutes=rules.mutes)
    assert {one.plan.state for one in plain} == {"queued"}
    spam = {"email": "spam@example.com"}
    muted = deliveries(rules, missed=True, now=friday, mutes=rules.mutes, visitor=spam)
    assert {(one.plan.state, one.plan.in_digest) for one in muted} == {("scheduled", True)}


async def test_a_hook_is_kept_with_its_plan(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    outbox, judging = await Outbox.open(path, now=SATURDAY), Judging()

    async def nobody(*_: object) -> None:
        raise AssertionError("no rule is in trouble")

    try:
        await take(
            a_hook(7, missed=True, completed=False),
            rules=a_book(RULES),
            judging=judging,
            outbox=outbox,
            accept=outbox.accept,
            tell=nobody,
            now=SATURDAY,
            mail_domain="example.org",
        )
    finally:
        judging.close()
        await outbox.close()
    found = rows(path, "SELECT destination, state, why, due_at FROM deliveries ORDER BY id")
    due = int(MONDAY.timestamp() * 1000)
    assert found[0] == ("room", "scheduled", "hours", due)
    assert found[1][:3] == ("night", "queued", "")
