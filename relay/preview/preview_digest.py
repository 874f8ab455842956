"""Digests for a preview, in which the previewed chat is among sample chats."""

import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files

from msgspec.structs import replace

from relay.outbox import Delivery
from relay.outbox.delivery_types import ITSELF
from relay.outbox.digests import DIGEST_RULE, name_of
from relay.rules import RuleBook
from relay.smartsupp import read_chat
from relay.timing.digest_contents import Digest, Member, arranged
from relay.timing.plan import SEND

BETWEEN = timedelta(minutes=23)
"""Time between two sample chats."""


def digests_of(
    deliveries: Iterable[Delivery], book: RuleBook
) -> tuple[list[Delivery], Mapping[int, Digest]]:
    """One digest for each recipient at a destination with digests, and the contents of each by its id.

    Sample chats are listed under the rules that match them, or else under the first rule of the delivery.
    """
    by_recipient: dict[tuple[str, str], list[Delivery]] = {}
    for delivery in deliveries:
        if book.destinations[delivery.destination].timing.collects:
            by_recipient.setdefault((delivery.destination, delivery.recipient), []).append(delivery)
    digests, contents = list[Delivery](), dict[int, Digest]()
    for number, ((destination, _), own) in enumerate(by_recipient.items(), 1):
        digests.append(_digest(number, own[0]))
        contents[-number] = _with_samples(own, destination, book)
    return digests, contents


def _digest(number: int, delivery: Delivery) -> Delivery:
    """A digest to where this delivery goes; its id is `-number`, which no stored delivery has."""
    return replace(
        delivery,
        id=-number,
        account=ITSELF,
        chat=name_of(number),
        rule=DIGEST_RULE,
        template="",
        message_id=f"digest.{delivery.message_id}",
    )


def _with_samples(own: list[Delivery], destination: str, book: RuleBook) -> Digest:
    now = datetime.now(UTC)
    members = [_member(each.body, (each.rule,), now) for each in own]
    samples = sorted(
        each.name for each in (files("relay.demo") / "samples").iterdir() if each.is_file()
    )
    for number, name in enumerate(samples, 1):
        body = (files("relay.demo") / "samples" / name).read_bytes()
        held = [each.rule for each in book.explain(read_chat(body)) if each.holds]
        rules = [rule.name for rule in book.rules if destination in rule.send_to]
        names = [name for name in held if name in rules] or [own[0].rule]
        members += [_member(body, (rule,), now - number * BETWEEN) for rule in names]
    order = [rule.name for rule in book.rules]
    return arranged(members, order=order, destination=destination, closed_at=now)


def _member(body: bytes, rules: tuple[str, ...], at: datetime) -> Member:
    chat = read_chat(body, at)
    return Member(
        account=chat.account,
        chat=chat.id,
        rules=rules,
        why=SEND,
        arrived=at,
        updated=at,
        missed=bool(chat.missed),
        offline=bool(chat.offline),
        body=zlib.compress(body),
    )
