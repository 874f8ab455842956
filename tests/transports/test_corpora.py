"""Public lists of strings that break programs, put into every field: each medium's message stays ours."""

import pytest

from relay.mail_address import MailAddress, UnusableAddress, read_mailbox, visitor_address
from relay.transports.email.mime import Envelope, pack
from relay.transports.slack import pack as slack
from relay.transports.teams import pack as teams
from tests.corpora import ADDRESSES, ALL, MARKUP, NAMES, NAUGHTY
from tests.transports import test_mime, test_slack_pack, test_teams_pack
from tests.transports.examples import IDENTITY, a_notification, typed
from tests.transports.test_any_visitor import NAMES as TEMPLATES
from tests.transports.test_any_visitor import PLACES, check_all, told

SHARES = 8
"""Of a list: so many tests, that several processes share."""
share = pytest.mark.parametrize("part", range(SHARES))


def test_the_lists_are_whole() -> None:
    assert (len(NAUGHTY), len(ADDRESSES)) == (485, 429)
    assert MARKUP.keys() == {"slack", "teams", "mail", "html", "templates", "names"}
    assert len(ALL) > 1_200


@share
def test_whatever_is_typed_in_every_field_each_mediums_message_is_ours(part: int) -> None:
    for text in ALL[part::SHARES]:
        notification = typed(text)
        test_mime.check(notification, pack(notification, test_mime.ENVELOPE, IDENTITY))
        test_teams_pack.check(teams.pack(notification))
        test_slack_pack.check(slack.pack(notification, mention="here"), "<!here>")


@share
def test_whatever_a_hook_brings_the_rendered_messages_are_ours(part: int) -> None:
    """Another string in each field, all of them in turn, with another template each time."""
    step = len(PLACES)
    groups = [ALL[at : at + step] for at in range(0, len(ALL) - step, step)]
    for number, group in enumerate(groups[part::SHARES]):
        for turn in (0, step // 2):
            texts = dict(zip(PLACES, group[turn:] + group[:turn], strict=True))
            check_all(told(TEMPLATES[(number + turn) % len(TEMPLATES)], "en", texts))


@share
def test_no_name_brings_an_address_with_it(part: int) -> None:
    """Long names lose their quotes where Python folds them (gh-80222): so none of ours needs any."""
    for name in (NAMES + NAUGHTY + MARKUP["mail"])[part::SHARES]:
        notification = a_notification(visitor_name=name, visitor_email="marta@example.com")
        envelope = Envelope(
            MailAddress(name, "relay@example.org"), MailAddress(name, "anna@example.com")
        )
        mail = pack(notification, envelope, IDENTITY)
        test_mime.check(notification, mail)
        (visitor,) = test_mime.read(mail)["Reply-To"].addresses
        assert visitor.addr_spec == "marta@example.com"
        assert "@" not in visitor.display_name


def test_no_address_breaks_the_mail_and_each_that_is_used_is_one() -> None:
    for typed_address in ADDRESSES:
        notification = a_notification(visitor_email=typed_address)
        mail = pack(notification, test_mime.ENVELOPE, IDENTITY)
        test_mime.check(notification, mail)
        found = visitor_address(typed_address)
        assert found.count("@") == bool(found)
        assert found.isascii()
        assert (f"<{found}>".encode() in mail) is bool(found)


def test_an_address_is_read_or_refused_in_words() -> None:
    for text in ADDRESSES:
        try:
            read = read_mailbox(text)
        except UnusableAddress as error:
            assert str(error).startswith(("is not an email address (", "has letters before the @"))
        else:
            assert (read.address.count("@"), read.address.isascii()) == (1, True)
            assert not set(read.address) & set(' <>,;\r\n\0"')
