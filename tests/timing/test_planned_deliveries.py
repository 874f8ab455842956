"""Whom the rules tell of a chat and when, as it comes in."""

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.delivery.redirect import Redirect
from relay.delivery.scheduled_deliveries import Release
from relay.intake import planned_deliveries, take
from relay.outbox import NewDelivery, NewHook, Outbox
from relay.outbox.delivery_types import from_ms
from relay.rules import RuleBook
from relay.rules.timed_evaluation import Judging
from relay.timing.plan import NOW, Mute, Timing
from tests.builders import a_chat, a_hook
from tests.rules.books import a_book
from tests.running import rows
from tests.timing.zones import OFFICE, at

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
            alert=nobody,
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


HOURS, DAYS = st.integers(-5 * 3600, 5 * 3600), st.integers(-3, 3).map(lambda days: days * 86_400)


@given(st.lists(st.tuples(st.booleans(), st.one_of(HOURS, DAYS)), max_size=20))
@example([(True, 0), (True, 64 * 3600), (True, -64 * 3600), (True, 64 * 3600)])
@settings(max_examples=20)
def test_a_clock_that_goes_back_and_forth_hastens_loses_and_doubles_nothing(
    steps: list[tuple[bool, int]],
) -> None:
    """What comes in on Friday evening and later is queued once, in hours by the clock of that moment."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_goes(Path(folder) / "relay.db", steps))


async def _goes(path: Path, steps: list[tuple[bool, int]]) -> None:
    rules, now, passed, chats = a_book(RULES), at("2026-11-27 17:05"), 0.0, 0
    outbox = await Outbox.open(path, now=now)
    redirect = Redirect(rules, "x.org")
    release = Release(
        outbox,
        [],
        lambda _: None,
        lambda: now,
        redirect=lambda: redirect,
        monotonic=lambda: passed,
    )
    release.change({"room": Timing(hours=OFFICE)})
    try:
        for is_chat, seconds in [*steps, (True, 0)]:
            now += timedelta(seconds=seconds)
            passed += 2
            if is_chat:
                chats += 1
                chat = a_chat(chats, missed=True, completed=False)
                found = planned_deliveries(
                    rules, chat, rules.matches(chat), "x.org", mutes=(), now=now
                )
                room = tuple(one for one in found if one.destination == "room")
                hook = NewHook(
                    body=b"{}", chat=chat, received_at=now, rules_hash="", deliveries=room
                )
                await outbox.accept(hook)
            await release.look()
        now = max(now, at("2027-02-01 10:00"))
        for _ in range(3):
            passed += 2
            await release.look()
    finally:
        await outbox.close()
    told = rows(path, "SELECT state, coalesce(released_at, created_at) FROM deliveries")
    assert [state for state, _ in told] == ["queued"] * chats
    assert all(OFFICE.holds(from_ms(queued_at)) for _, queued_at in told)
