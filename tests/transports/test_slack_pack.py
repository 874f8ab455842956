"""What a Slack post looks like: inside every limit, with no markup but ours."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.chat import Author
from relay.notification import Fact, Link, Notification, TranscriptMessage
from relay.transports.slack.pack import pack, pack_thread
from tests.transports.examples import (
    HOSTILE,
    MISSED,
    NOTIFICATIONS,
    TEXTS,
    a_notification,
    saying,
    typed,
)
from tests.transports.web_bench import texts

Json = dict[str, Any]


def elements(post: Json) -> Iterator[Json]:
    """All elements of the post's rich_text blocks."""
    for block in post["blocks"]:
        if block["type"] == "rich_text":
            for part in block["elements"]:
                yield from part["elements"]


def read(post: Json) -> str:
    return "".join(element.get("text", "") for element in elements(post))


def check(post: Json, mention: str = "") -> None:
    """Everything that must hold of any post."""
    assert not {"link_names", "parse", "mrkdwn"} & post.keys()
    assert (post["unfurl_links"], post["unfurl_media"]) == (False, False)
    assert 1 <= len(post["blocks"]) <= 45
    assert 1 <= len(post["text"]) <= 3_000
    visible = 0
    for block in post["blocks"]:
        shown = sum(map(width, texts_of(block)))
        assert 1 <= shown <= 3_000
        visible += shown
        if block["type"] == "header":
            assert width(block["text"]["text"]) <= 150
            assert block["text"]["type"] == "plain_text"
            assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", block["text"]["text"])
        elif block["type"] == "section":
            assert block["text"] == {"type": "mrkdwn", "text": mention, "verbatim": True}
        elif block["type"] == "context":
            check_small_print(block["elements"])
        else:
            assert block["type"] == "rich_text"
    assert visible <= 10_000
    for element in elements(post):
        assert element["type"] in {"text", "link"}
        assert element["text"]
        if element["type"] == "link":
            assert re.match(r"https?://|mailto:", element["url"])
    words = post["text"].removeprefix(mention)
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", words)
    assert not re.search("[\ud800-\udfff\u202e\x00]", "".join(texts(post)))


def check_small_print(elements: list[Json]) -> None:
    (only,) = elements
    assert (only["type"], only["emoji"]) == ("plain_text", False)
    assert 1 <= width(only["text"]) <= 500
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", only["text"])


def check_plain(post: Json, mention: str = "") -> None:
    """Everything that must hold of the short form."""
    assert post.keys() == {"text", "unfurl_links", "unfurl_media"}
    words = post["text"].removeprefix(mention)
    assert 1 <= len(words) <= 3_000
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)|[\ud800-\udfff\u202e\x00]", words)


def width(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def texts_of(block: Json) -> list[str]:
    if "text" in block:
        return [block["text"]["text"]]
    if block["type"] == "context":
        return [element["text"] for element in block["elements"]]
    return [element["text"] for part in block["elements"] for element in part["elements"]]


def test_a_missed_chat_reads_from_top_to_bottom() -> None:
    post = pack(MISSED)
    check(post)
    assert post["text"] == (
        "Missed chat from Marta Nowák · Marta Nowák wrote 3 messages and nobody answered."
    )
    assert post["blocks"][0]["text"]["text"] == "🔴 Missed chat from Marta Nowák"
    assert read(post) == (
        "Marta Nowák wrote 3 messages and nobody answered."
        "Open in the relay (relay.example.com)"
        "12:00  Marta Nowák: Hello, is anybody there?\n"
        "12:00  🤖 Shop: We will be with you soon.\n"
        "⏳ 6 minutes without an answer\n"
        "12:06  Marta Nowák:\nI would like to order.\nToday!\n"
        "12:07  Marta Nowák left"
        "Visitor: Marta Nowák\nEmail: marta@example.com\nPage: Green shoes, size 42"
    )


def test_facts_are_one_block_and_what_has_no_room_is_counted() -> None:
    facts = tuple(Fact(label=f"*Fact {n}* <!here>", value=f"_{n}_") for n in range(25))
    post = pack(a_notification(facts=facts, facts_left_out=16))
    check(post)
    told = "".join(texts_of(post["blocks"][-1]))
    assert told.split("\n")[::19] == ["*Fact 0* <!here>: _0_", "*Fact 19* <!here>: _19_"]
    assert told.split("\n")[20:] == ["… 21 more left out …"]


def test_long_facts_are_cut_and_counted_too() -> None:
    facts = tuple(Fact(label=f"Fact {n}", value="x" * 400) for n in range(12))
    post = pack(a_notification(facts=facts))
    check(post)
    told = "".join(texts_of(post["blocks"][-1])).split("\n")
    shown = len(told) - 1
    assert told[-1] == f"… {12 - shown} more left out …"
    assert shown > 8


def test_the_conversation_comes_before_what_is_only_looked_up() -> None:
    links = (
        Link(label="Reply to Marta", url="mailto:marta@example.com"),
        Link(label="Shoes", url="https://shop.example.com/s", visited=True),
    )
    post = pack(a_notification(links=links, footer="when"), mention="here")
    check(post, "<!here>")
    shown = ["".join(texts_of(block)) for block in post["blocks"]]
    assert shown[:4] == [
        "🔴 Missed chat from Marta Nowák",
        "<!here>",
        "Marta Nowák wrote 3 messages and nobody answered.",
        "Reply to Marta",
    ]
    assert shown[4].startswith("12:00  Marta")
    assert shown[5].startswith("Visitor: Marta Nowák\nEmail:")
    assert shown[6:] == ["Pages visited: Shoes (shop.example.com)", "when"]


def test_who_left_no_address_is_said_where_the_answer_link_would_be() -> None:
    post = pack(a_notification(links=(), no_address="No email address"))
    check(post)
    assert texts_of(post["blocks"][2]) == ["No email address"]
    assert "No email address" in read(
        pack_thread(a_notification(links=(), no_address="No email address")).lead
    )


def test_a_rating_is_seen_in_the_heading() -> None:
    post = pack(a_notification(subject="Rated 2 of 5 stars: " + "Marta" * 60, stars="★★☆☆☆"))
    check(post)
    assert re.fullmatch(
        r"🔴 Rated 2 of 5 stars: (Marta)+\w*…  ★★☆☆☆", post["blocks"][0]["text"]["text"]
    )
    assert "★" not in post["text"]


def test_lines_keep_their_indentation() -> None:
    post = pack(saying("\n    if x:\n\treturn  1\n", times=1))
    assert "Visitor:\n    if x:\n\treturn  1" in read(post)


@pytest.mark.parametrize(("count", "shown"), [(14, 14), (15, 12), (60, 12)])
def test_one_or_two_messages_more_are_shown_and_not_counted(count: int, shown: int) -> None:
    post = read(pack(saying("hats", times=count)))
    assert post.count("hats") == shown
    assert ("left out" in post) == (shown < count)


def test_visitors_words_stand_where_slack_reads_no_markup() -> None:
    post = pack(typed("<!channel> *now* <https://evil.example|bank>"))
    check(post)
    assert "<!channel> *now* <https://evil.example|bank>" in read(post)
    assert "&lt;!channel&gt;" in post["text"]


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "https://a|b", "https://a b", "https://a>b", "ftp://a", "", "//a"],
)
def test_a_link_with_another_scheme_or_odd_signs_is_left_out(url: str) -> None:
    post = pack(a_notification(links=(Link(label="Look", url=url),)))
    assert [element for element in elements(post) if element["type"] == "link"] == []


def test_a_long_chat_keeps_its_start_and_its_end() -> None:
    transcript = tuple(
        TranscriptMessage(author=Author.VISITOR, name="Marta", text=f"message {number}")
        for number in range(1_000)
    )
    post = pack(a_notification(transcript=transcript))
    check(post)
    shown = [int(number) for number in re.findall(r"message (\d+)", read(post))]
    assert shown[:2] == [0, 1]
    assert shown[2:] == list(range(shown[2], 1_000))
    assert len(shown) == 12
    assert "… 988 messages left out; Smartsupp has the whole chat …" in read(post)


def test_a_chat_of_long_messages_uses_most_of_the_room() -> None:
    post = pack(saying("word " * 200, times=50))
    check(post)
    assert len(read(post)) > 8_000


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("cs", r"… vynecháno \d+ zpráv; celý chat je ve Smartsuppu …"),
        ("de", r"… \d+ Nachrichten ausgelassen; der ganze Chat steht in Smartsupp …"),
        ("es", r"… \d+ mensajes omitidos; el chat completo está en Smartsupp …"),
    ],
)
def test_the_count_is_told_in_the_readers_language(language: str, words: str) -> None:
    notification = saying("word " * 100, times=300)
    post = pack(a_notification(transcript=notification.transcript, language=language))
    assert re.search(words, read(post))


@pytest.mark.parametrize(("mention", "is_own"), [("", True), ("here", False)])
def test_a_templates_own_blocks_that_leave_no_room_for_the_mention_give_way_to_ours(
    mention: str, *, is_own: bool
) -> None:
    own = {"blocks": [{"type": "divider"}] * 50}
    post = pack(a_notification(override=own), mention=mention)
    assert (post["blocks"] == own["blocks"]) is is_own
    assert len(post["blocks"]) <= 50
    assert ("<!here>" in post["text"]) is bool(mention)


def test_a_notification_that_says_nothing_is_still_a_post() -> None:
    post = pack(Notification(subject="", summary=""))
    check(post)
    assert post["text"] == "Smartsupp"


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text(text: str) -> None:
    check(pack(typed(text)))


@settings(max_examples=300, deadline=None)
@given(NOTIFICATIONS)
@pytest.mark.long
def test_any_notification_makes_a_post_inside_every_limit(notification: Notification) -> None:
    check(pack(notification))
    check_plain(pack(notification.short(), mention="here"), "<!here>")
    thread = pack_thread(notification, mention="channel")
    check(thread.lead, "<!channel>")
    assert len(thread.replies) <= 3
    for reply in thread.replies:
        check(reply)
        assert not [block for block in reply["blocks"] if block["type"] != "rich_text"]
    assert not re.search("[\ud800-\udfff\u202e\x00]", thread.file)
    check_plain(pack_thread(notification.short(), mention="here").lead, "<!here>")


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.integers(1, 400))
@pytest.mark.long
def test_any_chat_of_any_length_fits(text: str, times: int) -> None:
    check(pack(saying(text, times=times)))
    thread = pack_thread(saying(text, times=times))
    for reply in thread.replies:
        check(reply)
    if not thread.file:
        told = "".join(read(reply) for reply in thread.replies)
        assert told.count("Visitor:") == times


# -- links -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("called", "url", "shown"),
    [
        ("Open in the relay", "https://evil.example/x", "Open in the relay (evil.example)"),
        (
            "shop.example.com: shoes",
            "https://shop.example.com/s",
            "shop.example.com: shoes (shop.example.com)",
        ),
        (
            "Sign in again: https://mail.google.com",
            "https://e.com/login",
            "Sign in again: https://mail.google.com (e.com)",
        ),
        ("mail.google.com", "https://e.com/", "mail.google.com (e.com)"),
        ("mail.google.com/e.com", "https://e.com/", "mail.google.com/e.com (e.com)"),
        ("e.com (mail.google.com)", "https://e.com/", "e.com (mail.google.com) (e.com)"),
        ("g\u043e\u043egle.com", "https://google.com/", "g\u043e\u043egle.com (google.com)"),
        ("ｅ.com", "https://e.com/", "ｅ.com (e.com)"),
        ("Google", "https://xn--ggle-55da.com/", "Google (xn--ggle-55da.com)"),
        ("E.com", "https://e.com/login", "E.com"),
        ("", "https://shop.example.com/s", "shop.example.com"),
        ("Reply to Marta", "mailto:marta@example.com", "Reply to Marta"),
        ("bank.example", "https://user@evil.example/", "bank.example (evil.example)"),
        ("x", f"https://{'a.' * 100}evil.example/", f"x (…{('a.' * 100 + 'evil.example')[-60:]})"),
    ],
)
def test_a_link_says_where_it_leads_whatever_it_is_called(
    called: str, url: str, shown: str
) -> None:
    post = pack(a_notification(links=(Link(label=called, url=url),)))
    check(post)
    (link,) = [element for element in elements(post) if element["type"] == "link"]
    assert (link["text"], link["url"]) == (shown, url)


def footed(text: str) -> Notification:
    return a_notification(footer=text)


def test_the_small_print_stands_at_the_foot_and_is_no_markup() -> None:
    post = pack(footed("21 Nov 2025, 14:05 · rule “<!here> & Night watch”"))
    check(post)
    foot = post["blocks"][-1]
    assert foot["type"] == "context"
    assert texts_of(foot) == ["21 Nov 2025, 14:05 · rule “&lt;!here&gt; &amp; Night watch”"]
    assert pack_thread(footed("when")).lead["blocks"][-1]["type"] == "context"


def test_ones_own_people_are_marked_in_a_transcript_and_the_visitor_is_not() -> None:
    messages = (
        TranscriptMessage(author=Author.VISITOR, name="Jana", text="Hello", time="12:00"),
        TranscriptMessage(author=Author.AGENT, name="Jana", text="Hello", time="12:01"),
    )
    said = read(pack(a_notification(transcript=messages)))
    assert "12:00  Jana: Hello" in said
    assert "12:01  🎧 Jana: Hello" in said


def test_a_single_message_that_the_summary_quotes_is_not_said_twice() -> None:
    message = TranscriptMessage(author=Author.VISITOR, name="José", text="Good day,\n40 chairs?")
    once = a_notification(
        summary="“Good day, 40 chairs?”", transcript=(message,), links=(), facts=()
    )
    post = pack(once)
    check(post)
    assert read(post) == "José:\nGood day,\n40 chairs?"
    assert post["text"].endswith("“Good day, 40 chairs?”")
    thread = pack_thread(once)
    assert read(thread.lead) == "“Good day, 40 chairs?”"  # the thread is not read at a glance
    assert read(thread.replies[0]) == "José:\nGood day,\n40 chairs?"
    more = a_notification(summary="“Good day”", transcript=(message,), links=(), facts=())
    assert read(pack(more)) == "“Good day”José:\nGood day,\n40 chairs?"


def test_a_command_of_the_relays_looks_like_one() -> None:
    post = pack(a_notification(summary="`relay check` says where. `rm -rf` is no command of ours."))
    check(post)
    commands = [element["text"] for element in elements(post) if "code" in element.get("style", {})]
    assert commands == ["relay check"]
    assert "`rm -rf` is no command of ours." in read(post)
