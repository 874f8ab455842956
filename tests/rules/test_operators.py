"""Every operator at its bounds and beside them, as a rules file writes it."""

from datetime import UTC, datetime, timedelta

import pytest

from relay.chat import Author, Chat, Message, Page, Variable, Visitor
from relay.rules.compared_values import Words
from relay.rules.field_type import Kind
from relay.rules.fields import FIELDS
from relay.rules.operators import OPERATORS, operators_for
from tests.rules.books import a_book, a_rule_when, holds, trouble, why

LESS = "repeat less: write `.*` for `.{0,1000}`, and nothing that is repeated within a repetition"
E_ACUTE = "Jose\u0301"
"""José typed as e and a combining accent."""


def a_chat(**changes: object) -> Chat:
    return Chat(account="208", id="1", **changes)  # type: ignore[arg-type]


def noted(note: str) -> Chat:
    return a_chat(visitor=Visitor(note=note))


def said(*texts: str) -> Chat:
    return a_chat(messages=tuple(Message(author=Author.VISITOR, text=text) for text in texts))


def with_variable(value: str | float | bool) -> Chat:
    return a_chat(visitor=Visitor(variables={"plan": Variable(label="Plan", value=value)}))


RATED_3 = a_chat(rating=3)
ANSWERED_IN_90S = a_chat(first_response=timedelta(seconds=90))


@pytest.mark.parametrize(
    ("condition", "chat", "answer"),
    [
        # yes or no
        ("{missed: true}", a_chat(missed=True), True),
        ("{missed: true}", a_chat(missed=False), False),
        ("{missed: false}", a_chat(missed=False), True),
        ("{missed: false}", a_chat(missed=True), False),
        ("{missed: YES}", a_chat(missed=True), True),
        ("{missed: 'no'}", a_chat(missed=False), True),
        ("{missed: {is: true}}", a_chat(missed=True), True),
        # numbers
        ("{rating: 3}", RATED_3, True),
        ("{rating: 3.0}", RATED_3, True),
        ("{rating: 2}", RATED_3, False),
        ("{rating: [1, 3]}", RATED_3, True),
        ("{rating: [1, 2]}", RATED_3, False),
        ("{rating: {at_least: 3}}", RATED_3, True),
        ("{rating: {at_least: 3.01}}", RATED_3, False),
        ("{rating: {at_most: 3}}", RATED_3, True),
        ("{rating: {at_most: 2.99}}", RATED_3, False),
        ("{rating: {more_than: 2.99}}", RATED_3, True),
        ("{rating: {more_than: 3}}", RATED_3, False),
        ("{rating: {less_than: 3.01}}", RATED_3, True),
        ("{rating: {less_than: 3}}", RATED_3, False),
        ("{rating: {at_least: 2, at_most: 3}}", RATED_3, True),
        ("{rating: {at_least: 2, at_most: 2.5}}", RATED_3, False),
        ("{rating: {is: 2.5}}", a_chat(rating=2.5), True),
        ("{message_count: {at_least: -1}}", a_chat(message_count=0), True),
        ("{message_count: 0}", a_chat(message_count=0), True),
        # durations
        ("{first_response: {at_least: 90s}}", ANSWERED_IN_90S, True),
        ("{first_response: {at_least: 91s}}", ANSWERED_IN_90S, False),
        ("{first_response: {at_most: 1m30s}}", ANSWERED_IN_90S, True),
        ("{first_response: {at_most: 89s}}", ANSWERED_IN_90S, False),
        ("{first_response: {more_than: 1m}}", ANSWERED_IN_90S, True),
        ("{first_response: {more_than: 1.5min}}", ANSWERED_IN_90S, False),
        ("{first_response: {less_than: 1h}}", ANSWERED_IN_90S, True),
        ("{first_response: {less_than: 90s}}", ANSWERED_IN_90S, False),
        ("{first_response: 90s}", ANSWERED_IN_90S, True),
        ("{first_response: [1m, 1m 30s]}", ANSWERED_IN_90S, True),
        ("{duration: 1d}", a_chat(duration=timedelta(days=1)), True),
        # texts: is, one_of
        ("{visitor.note: vip}", noted("VIP"), True),
        ("{visitor.note: vip}", noted("VIPs"), False),
        ("{visitor.note: [gold, vip]}", noted("Vip"), True),
        ("{visitor.note: [gold, silver]}", noted("Vip"), False),
        ("{visitor.note: 'José'}", noted(E_ACUTE), True),
        (f"{{visitor.note: {E_ACUTE}}}", noted("JOSÉ"), True),
        ("{visitor.note: Jose}", noted("José"), True),
        ("{visitor.note: José}", noted("jose"), True),
        ("{visitor.note: STRASSE}", noted("Straße"), True),
        ("{visitor.note: 'ΐ'}", noted("Ϊ\u0301"), True),
        ("{visitor.note: call me}", noted(" call \n me"), True),
        ("{visitor.country_code: NO}", a_chat(visitor=Visitor(country_code="NO")), True),
        ("{id: 1.10}", a_chat(rating=1.1), False),
        ("{account: 208}", a_chat(), True),
        # parts of texts
        ("{visitor.note: {contains: VIP}}", noted("our vip customer"), True),
        ("{visitor.note: {contains: VIP}}", noted("our v.i.p."), False),
        ("{visitor.note: {contains: [gold, VIP]}}", noted("our vip customer"), True),
        ("{visitor.note: {contains: [gold, silver]}}", noted("our vip customer"), False),
        ("{visitor.note: {starts_with: our}}", noted("Our vip"), True),
        ("{visitor.note: {starts_with: vip}}", noted("Our vip"), False),
        ("{visitor.note: {ends_with: VIP}}", noted("Our vip"), True),
        ("{visitor.note: {ends_with: our}}", noted("Our vip"), False),
        ("{visitor.note: {ends_with: [our, vip]}}", noted("Our vip"), True),
        ("{visitor.note: {contains: end}}", noted("x" * 63_997 + "end"), True),
        ("{visitor.note: {contains: end}}", noted("x" * 63_998 + "end"), False),
        # texts: whole words
        ("{visitor.note: {contains_word: order}}", noted("border"), False),
        ("{visitor.note: {contains_word: order}}", noted("orders"), False),
        ("{visitor.note: {contains_word: order}}", noted("border, order!"), True),
        ("{visitor.note: {contains_word: order}}", noted("Order"), True),
        ("{visitor.note: {contains_word: order}}", noted("pre_order"), False),
        ("{visitor.note: {contains_word: rad}}", noted("řád rád"), True),
        ("{visitor.note: {contains_word: řád}}", noted("pořádek"), False),
        ("{visitor.note: {contains_word: řád}}", noted("na řád."), True),
        ("{visitor.note: {contains_word: a}}", noted("a\u0301"), True),
        ("{visitor.note: {contains_word: {exactly: a}}}", noted("a\u0301"), False),
        ("{visitor.note: {contains_word: my order}}", noted("where is my   order?"), True),
        ("{visitor.note: {contains_word: '!!'}}", noted("help!!now"), True),
        # texts: words of scripts without spaces are found where they stand
        ("{said: {contains_word: キャンセル}}", said("注文をキャンセルしたい"), True),
        ("{said: {contains_word: 退款}}", said("我要退款谢谢"), True),
        ("{said: {contains_word: คืน}}", said("ฉันต้องการคืนเงิน"), True),
        ("{said: {contains_word: ค}}", said("คืน"), False),
        ("{said: {contains_word: ຄືນ}}", said("ກະລຸນາຄືນເງິນ"), True),
        ("{said: {contains_word: PayPal}}", said("PayPalで返金"), True),
        ("{said: {contains_word: 1000}}", said("21000円"), False),
        ("{said: {contains_word: 환불}}", said("환불을 요청합니다"), True),
        ("{said: {contains_word: 물}}", said("선물"), False),
        # texts: what people type in different ways
        ('{said: {contains: "can\'t log in"}}', said("I can’t log in"), True),
        ("{said: {contains: I can’t}}", said("i can't"), True),
        ("{said: {contains: don’t}}", said("don´t, don`t, donʼt"), True),
        ("{said: {contains: '\"refund\"'}}", said("„refund“"), True),
        ("{said: {contains: «refund»}}", said('a "refund"'), True),
        ("{said: {contains: e-mail}}", said("e\u2011mail"), True),
        ("{said: {contains: 9–17}}", said("9-17, 9—17, 9−17"), True),
        ("{said: {contains: refund}}", said("re\u00adfund"), True),
        ("{said: {contains_word: refund}}", said("\u200brefund\ufeff"), True),
        ("{said: {contains: re\u200bfund}}", said("refund"), True),
        ("{said: {contains: order now}}", said("order\u00a0now"), True),
        ("{said: {contains: ❤️}}", said("❤"), True),
        ("{said: {contains: 'wait...'}}", said("wait…"), True),
        # texts, whose accents don't count
        ("{said: {contains: právník}}", said("potrebuji pravnik"), True),
        ("{said: {contains_word: pravnik}}", said("PRÁVNÍK!"), True),
        ("{said: {contains: iptal}}", said("İPTAL"), True),
        ("{said: {contains: İPTAL}}", said("iptal, ıptal"), True),
        ("{said: {contains: kirik}}", said("KIRIK, kırık"), True),
        ("{said: {starts_with: złoty}}", said("ZLOTY"), True),
        ("{said: {ends_with: Ørsted}}", said("h. c. orsted"), True),
        ("{said: [đơn hàng, x]}", said("don hang"), True),
        ("{said: елка}", said("Ёлка"), True),
        ("{said: мои}", said("мой"), False),
        ("{said: ΑΓΓΕΛΟΣ}", said("άγγελος"), True),
        ("{said: かき}", said("かぎ"), False),
        ("{said: {contains: 가}}", said("각"), False),
        ("{said: कल}", said("कुल"), False),
        # texts: as they were typed
        ("{said: {exactly: právník}}", said("pravnik"), False),
        ("{said: {exactly: právník}}", said("Právník"), False),
        ("{said: {exactly: právník}}", said("pra\u0301vni\u0301k "), True),
        ("{said: {exactly: [IT, it's]}}", said("it’s"), False),
        ("{said: {exactly: [IT, it's]}}", said("IT"), True),
        ("{said: {is: {exactly: IT}}}", said("it"), False),
        ("{said: {one_of: {exactly: [x, IT]}}}", said("IT"), True),
        ("{said: {contains: {exactly: řád}}}", said("nejsem rád"), False),
        ("{said: {contains: {exactly: [x, řád]}}}", said("nový řád"), True),
        ("{said: {contains_word: {exactly: IT}}}", said("is it IT?"), True),
        ("{said: {contains_word: {exactly: IT}}}", said("is it?"), False),
        ("{said: {starts_with: {exactly: A}}}", said("á"), False),
        ("{said: {ends_with: {exactly: é}}}", said("café"), True),
        ("{visitor.variables.plan: {exactly: Pro}}", with_variable("pro"), False),
        # patterns
        (r"{visitor.note: {matches: 'order \d{4}'}}", noted("my ORDER 5512"), True),
        (r"{visitor.note: {matches: '^order'}}", noted("my order"), False),
        (r"{visitor.note: {matches: '(?-i)order'}}", noted("my ORDER"), False),
        (r"{visitor.note: {matches: '^(ž|č)luť'}}", noted("ŽLUŤ"), True),
        (r"{visitor.note: {matches: '^é$'}}", noted("e\u0301"), True),
        (r"{visitor.note: {matches: [gold, 'v.p']}}", noted("vip"), True),
        (
            r"{visitor.note: {matches: '(refund|money back).{0,200}(please|asap)'}}",
            noted("refund it asap"),
            True,
        ),
        (r"{visitor.note: {matches: '\p{Lu}\p{L}{2,20} \d+'}}", noted("Č5 Řád 5"), True),
        # lists: one element is enough
        ("{said: hello}", said("Hi", "Hello"), True),
        ("{said: {contains: money}}", said("Hi", "my money!"), True),
        ("{said: {contains: money}}", said("Hi", "mo", "ney"), False),
        ("{said: {starts_with: [x, my]}}", said("Hi", "my money!"), True),
        ("{page.url: {ends_with: /cart}}", a_chat(pages=(Page(url="https://a/cart"),)), True),
        ("{page.title: Cart}", a_chat(pages=(Page(title="Home"), Page(title="Cart"))), True),
        # variables, as texts and as numbers
        ("{visitor.variables.plan: PRO}", with_variable("pro"), True),
        ("{visitor.variables.plan: 1234}", with_variable(1234), True),
        ("{visitor.variables.plan: 1234}", with_variable("1234"), True),
        ("{visitor.variables.plan: 1.5}", with_variable(1.5), True),
        ("{visitor.variables.plan: true}", with_variable(value=True), True),
        ("{visitor.variables.plan: {at_least: 1000}}", with_variable(1290), True),
        ("{visitor.variables.plan: {at_least: 1000}}", with_variable("1290"), True),
        ("{visitor.variables.plan: {at_least: 1000}}", with_variable("a lot"), False),
        ("{visitor.variables.plan: {at_least: 1000}}", with_variable("nan"), False),
        ("{visitor.variables.plan: {at_least: 1000}}", with_variable("1 290"), True),
        ("{visitor.variables.plan: {at_least: 1000}}", with_variable("1290 Kč"), False),
        ("{visitor.variables.plan: {at_least: 1000}}", with_variable(1e300), True),
        ("{visitor.variables.plan: {less_than: 1000}}", with_variable(999.5), True),
        ("{visitor.variables.other: pro}", with_variable("pro"), False),
        ("{visitor.variables.Plan: pro}", with_variable("pro"), False),
        # empty
        ("{rating: {empty: true}}", a_chat(), True),
        ("{rating: {empty: true}}", RATED_3, False),
        ("{rating: {empty: false}}", RATED_3, True),
        ("{rating: {empty: false}}", a_chat(), False),
        ("{visitor.note: {empty: true}}", noted(""), True),
        ("{visitor.note: {empty: yes}}", noted("x"), False),
        ("{visitor.note: {empty: true}}", noted(" \u200b"), True),
        ("{said: {empty: true}}", said("\u3164", " "), True),
        ("{visitor.variables.plan: {empty: true}}", with_variable("\ufeff"), True),
        ("{agent: {empty: true}}", a_chat(), True),
        ("{missed: {empty: true}}", a_chat(missed=None), True),
        ("{missed: {empty: true}}", a_chat(missed=False), False),
        ("{visitor.variables.plan: {empty: true}}", a_chat(), True),
        ("{visitor.variables.plan: {empty: true}}", with_variable(0), False),
        # groups
        ("always", a_chat(), True),
        ("{any: [{missed: true}, {rating: 3}]}", RATED_3, True),
        ("{any: [{missed: true}, {rating: 2}]}", RATED_3, False),
        ("{all: [{rating: 3}, {missed: true}]}", RATED_3, False),
        ("{all: [{rating: 3}, {rating: {less_than: 4}}]}", RATED_3, True),
        ("{any: [{rating: 3, missed: true}]}", RATED_3, False),
        ("{not: {rating: 3}}", RATED_3, False),
        ("{not: {rating: 3, missed: true}}", RATED_3, True),
        ("{not: {not: {any: [{rating: 3}]}}}", RATED_3, True),
        ("{rating: 3, not: {missed: true}}", RATED_3, True),
    ],
)
def test_a_condition_holds_or_does_not(condition: str, chat: Chat, *, answer: bool) -> None:
    assert holds(condition, chat) is answer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *((text, 1290) for text in ("1290", "1 290", "1\u00a0290", "1\u202f290", "1,290", "1'290", "1’290", "1_290", "１２９０", "+1290", "1290.")),
        *((text, 1290.5) for text in ("1,290.50", "1.290,50", "1 290,5", "1290,5", "1'290.5", "1290.5")),
        *((text, 1234567) for text in ("1,234,567", "1.234.567", "12,34,567", "1 234 567")),
        *((text, 1.29) for text in ("1.290", "1,29", "1.29", "1,2900")),
        *((text, 0.29) for text in ("0,290", ".29")),
        *((text, -5) for text in ("-5", "−5")),
        *((text, None) for text in ("", "1290 Kč", "$5", "1,2,3", "1 29", "1.29.0", "1,290,50", "1.290.000.5", "5%", "½", "inf", "1e999", "9" * 41)),
    ],
)  # fmt: skip
def test_a_variable_s_text_is_read_as_the_number_that_people_take_it_for(
    text: str, number: float | None
) -> None:
    assert Words(text).number == number


_OPERANDS = {
    Kind.YES_NO: "true",
    Kind.NUMBER: "0",
    Kind.DURATION: "0s",
    Kind.TIME: "office",
    Kind.TEXT: "x",
    Kind.TEXTS: "x",
}


@pytest.mark.parametrize(
    ("field", "operator"),
    [
        (field.name, operator)
        for field in FIELDS.values()
        for operator in operators_for(field.kind)
        if operator != "empty" and field.name not in {"account", "id"}
    ],
)
def test_a_missing_value_satisfies_nothing_but_empty(field: str, operator: str) -> None:
    operand = _OPERANDS[FIELDS[field].kind]
    assert not holds(f"{{{field}: {{{operator}: {operand}}}}}", a_chat())
    assert holds(f"{{not: {{{field}: {{{operator}: {operand}}}}}}}", a_chat())
    assert holds(f"{{{field}: {{empty: true}}}}", a_chat())


NOBODY = Message(author=Author.SYSTEM, text="close.visitorClose")
JANA_JOINS = Message(author=Author.SYSTEM, name="Jana", text="agent.join")
JANA = Message(author=Author.AGENT, name="Jana", text="Yes?")
BOT = Message(author=Author.AUTOMATIC, text="Somebody will be here soon", trigger="Welcome")
VISITOR = Message(author=Author.VISITOR, name="Marta", text="Hello?")


@pytest.mark.parametrize(
    ("messages", "unanswered", "bot_only"),
    [
        ((VISITOR,), True, False),
        ((VISITOR, BOT), True, True),
        ((VISITOR, BOT, JANA), False, False),
        ((BOT,), False, False),
        ((VISITOR, JANA_JOINS), True, False),
        ((NOBODY,), False, False),
        ((JANA,), False, False),
    ],
)
def test_who_answered_is_told_by_the_messages(
    messages: tuple[Message, ...], *, unanswered: bool, bot_only: bool
) -> None:
    chat = a_chat(messages=messages)
    assert holds("{unanswered: true}", chat) is unanswered
    assert holds("{bot_only: true}", chat) is bot_only


def test_agents_are_those_who_wrote_or_joined() -> None:
    assert holds("{agent: jana}", a_chat(messages=(VISITOR, JANA_JOINS)))
    assert holds("{agent: Jana}", a_chat(messages=(JANA,)))
    assert not holds("{agent: Marta}", a_chat(messages=(VISITOR, JANA)))
    assert not holds("{agent: {contains: a}}", a_chat(messages=(VISITOR, BOT)))


def test_each_side_is_asked_for_its_own_words() -> None:
    chat = a_chat(messages=(VISITOR, BOT, JANA))
    assert holds("{said: 'hello?'}", chat)
    assert not holds("{said: 'yes?'}", chat)
    assert holds("{answered: 'yes?'}", chat)
    assert not holds("{answered: {contains: soon}}", chat)
    assert holds("{trigger: welcome}", chat)


@pytest.mark.parametrize(
    ("condition", "chat", "words"),
    [
        ("{missed: true}", a_chat(missed=False), "missed: no"),
        ("{missed: false}", a_chat(missed=False), "not missed: yes"),
        ("{missed: true}", a_chat(), "missed: no, Smartsupp did not say"),
        ("{rating: {at_most: 2}}", a_chat(rating=4), "rated 2 or lower: no, it was 4"),
        ("{rating: {at_most: 2}}", a_chat(), "rated 2 or lower: no, not rated"),
        ("{rating: [1, 2, 3.5]}", a_chat(rating=2), "rated 1, 2 or 3.5: yes, it was 2"),
        (
            "{first_response: {more_than: 90s}}",
            a_chat(first_response=timedelta(hours=1, seconds=5)),
            "first answer took longer than 1 min 30 s: yes, it was 1 h 5 s",
        ),
        (
            "{visitor.note: {contains: [VIP, gold]}}",
            noted("VIP\ncustomer"),
            "visitor's note contains “VIP” or “gold”: yes, it was “VIP customer”",
        ),
        (
            "{visitor.note: VIP}",
            a_chat(),
            "visitor's note is “VIP”: no, no note on the visitor",
        ),
        (
            "{said: {contains: money}}",
            said("Hi", "my money"),
            "something the visitor wrote contains “money”: yes, it was “my money”",
        ),
        (
            "{said: {contains: money}}",
            said("Hi", "Bye"),
            "something the visitor wrote contains “money”: no, they were “Hi” and “Bye”",
        ),
        (
            "{said: {contains: money}}",
            said("a", "b", "c", "d"),
            "something the visitor wrote contains “money”: no, none of the 4 did",
        ),
        (
            "{visitor.note: {contains: [x, právník]}}",
            noted("pravnik"),
            "visitor's note contains “x” or “právník”: yes, it was “pravnik”, alike but for accents or punctuation",
        ),
        (
            '{said: "can\'t"}',
            said("Hi", "CAN’T"),
            "something the visitor wrote is “can't”: yes, it was “CAN’T”, alike but for accents or punctuation",
        ),
        (
            "{visitor.note: právník}",
            noted("PRÁVNÍK"),
            "visitor's note is “právník”: yes, it was “PRÁVNÍK”",
        ),
        (
            "{visitor.note: {contains_word: {exactly: IT}}}",
            noted("it"),
            "visitor's note contains the word exactly “IT”: no, it was “it”",
        ),
        (
            "{visitor.note: {exactly: IT}}",
            noted("IT"),
            "visitor's note is exactly “IT”: yes, it was “IT”",
        ),
        (
            "{agent: Jana}",
            a_chat(),
            "an agent's name is “Jana”: no, no agent took part",
        ),
        (
            "{visitor.variables.plan: {at_least: 5}}",
            with_variable("few"),
            "visitor's plan is 5 or higher: no, not a number: “few”",
        ),
        (
            "{visitor.variables.plan: {at_least: 1000}}",
            with_variable("1290 Kč"),
            "visitor's plan is 1000 or higher: no, not a number: “1290 Kč”",
        ),
        (
            "{visitor.variables.plan: {at_least: 1000}}",
            with_variable("1,290.50"),
            "visitor's plan is 1000 or higher: yes, it was “1,290.50”, read as 1290.5",
        ),
        (
            "{visitor.variables.plan: {at_least: 1000}}",
            with_variable("1290"),
            "visitor's plan is 1000 or higher: yes, it was “1290”",
        ),
        (
            "{began: {within: office}}",
            a_chat(began=datetime(2026, 7, 4, 12, 30, tzinfo=UTC)),
            "began within office: no, it was Sat 2026-07-04 14:30 (Europe/Prague)",
        ),
        ("{rating: {empty: true}}", RATED_3, "'rating' is empty: no, it was 3"),
        ("{rating: {empty: false}}", a_chat(), "'rating' has a value: no"),
        ("always", a_chat(), "always: yes"),
        ("{any: [{missed: true}]}", a_chat(), "any of these: no"),
        ("{all: [{missed: true}]}", a_chat(), "all of these: no"),
        ("{not: {missed: true}}", a_chat(), "not this: yes"),
        ("{not: {missed: true, rating: 1}}", a_chat(), "not all of these: yes"),
    ],
)
def test_a_finding_says_what_was_asked_and_what_was_seen(
    condition: str, chat: Chat, words: str
) -> None:
    assert why(condition, chat) == words


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (
            "{isMissed: true}",
            "'isMissed' is Smartsupp's name; write missed",
        ),
        ("{channel.isMissed: true}", "'channel.isMissed' is Smartsupp's name; write missed"),
        ("{avgResponse: 2m}", "'avgResponse' is Smartsupp's name; write average_response"),
        ("{visitor.groupKey: x}", "'visitor.groupKey' is Smartsupp's name; write visitor.group"),
        (
            "{visitor.country: x}",
            "'visitor.country' is Smartsupp's name; write visitor.country_code",
        ),
        ("{messages.content: x}", "'messages.content' is Smartsupp's name; write said or answered"),
        ("{rateing: 2}", "unknown field 'rateing'; did you mean rating?"),
        ("{visitor.town: Brno}", "unknown field 'visitor.town'; write visitor.city"),
        ("{town: Brno}", "unknown field 'town'; write visitor.city"),
        ("{visitor.mail: x}", "unknown field 'visitor.mail'; write visitor.email"),
        ("{chat.rating: 2}", "unknown field 'chat.rating'; write rating"),
        ("{visitor.browser: x}", "unknown field 'visitor.browser'; write visitor.platform"),
        (
            "{visitor.language: de}",
            (
                "unknown field 'visitor.language'; write visitor.country_code, page.url or a variable of your site: "
                "the hook does not say a language"
            ),
        ),
        (
            "{visitor-note: x}",
            "unknown field 'visitor-note'; did you mean visitor.note or visitor.name?",
        ),
        ("{zzz: 2}", "unknown field 'zzz'; `relay fields` lists all there are"),
        (
            "{visitor.variables: x}",
            "'visitor.variables' needs the key of a variable; write visitor.variables.plan",
        ),
        (
            "{contains: VIP}",
            "unknown field 'contains'; it belongs under a field: `visitor.note: {contains: VIP}`",
        ),
        ("{rating: {'<=': 2}}", "unknown operator '<='; write at_most"),
        ("{visitor.note: {case_sensitive: x}}", "unknown operator 'case_sensitive'; write exactly"),
        (
            "{visitor.note: {contains: {exact: x}}}",
            "expected a value for 'contains', got a mapping (`key: value`); or {exactly: ...}, for a text as it was typed",
        ),
        (
            "{visitor.note: {matches: {exactly: x}}}",
            "expected a value for 'matches', got a mapping (`key: value`)",
        ),
        (
            "{rating: {is: {exactly: 2}}}",
            "expected one value for 'is', got a mapping (`key: value`); for a field without a value write {empty: true}",
        ),
        (
            "{visitor.note: {contains: '\u200b'}}",
            "'\u200b' has nothing in it that is compared; write the text to look for",
        ),
        ("{rating: {at_mots: 2}}", "unknown operator 'at_mots'; did you mean at_most?"),
        (
            "{rating: {is_not: 2}}",
            "unknown operator 'is_not'; put `not:` around the field: not: {rating: ...}",
        ),
        (
            "{rating: {contains: 2}}",
            (
                "'contains' does not fit 'rating', which is a number; for 'rating' there are: "
                "is, one_of, at_least, at_most, more_than, less_than, empty"
            ),
        ),
        (
            "{missed: [true, false]}",
            "'one_of' does not fit 'missed', which is yes or no; for 'missed' there are: is, empty",
        ),
        (
            "{began: office}",
            "'is' does not fit 'began', which is a time; times are asked about by a schedule: {within: office}, {outside: office}",
        ),
        ("{missed: on}", "expected true or false, got 'on'"),
        ("{missed: 1}", "expected true or false, got '1'"),
        ("{rating: two}", "expected a number, got 'two'"),
        (
            "{rating: '2,5'}",
            "expected a number, got '2,5'; write it with a decimal point, such as 4.5",
        ),
        ("{rating: 1e3}", "expected a number, got '1e3'"),
        ("{rating: .nan}", "expected a number, got '.nan'"),
        (
            "{rating: null}",
            "expected one value for 'is', got nothing; for a field without a value write {empty: true}",
        ),
        (
            "{visitor.note: ''}",
            "expected one value for 'is', got ''; for a field without a value write {empty: true}",
        ),
        ("{rating: {at_most: [1, 2]}}", "expected one value for 'at_most', got a list"),
        ("{rating: []}", "expected values for 'one_of', got an empty list"),
        (
            "{rating: {}}",
            (
                "nothing is said about 'rating'; for 'rating' there are: "
                "is, one_of, at_least, at_most, more_than, less_than, empty"
            ),
        ),
        ("{duration: 90}", "expected a duration, got '90'; write 90s, 2m or 1h30m"),
        (
            "{duration: {at_least: 2 weeks}}",
            "expected a duration, got '2 weeks'; write 90s, 2m or 1h30m",
        ),
        ("{duration: {at_least: 999999d}}", "'999999d' is longer than a year"),
        ("{began: {within: offices}}", "no schedule is called 'offices'; did you mean office?"),
        (
            "{visitor.note: {matches: '(?=x)y'}}",
            (
                "the pattern can't be used: invalid perl operator: (?=; "
                "looking ahead or behind, (?=...) or (?<!...), is not part of RE2 syntax"
            ),
        ),
        (
            r"{visitor.note: {matches: '(a)\1'}}",
            (
                r"the pattern can't be used: invalid escape sequence: \1; "
                r"back-references such as \1 are not part of RE2 syntax"
            ),
        ),
        (
            "{visitor.note: {matches: '(a'}}",
            (
                "the pattern can't be used: missing ): (a; "
                "put a \\ before a bracket that is meant as itself"
            ),
        ),
        (
            f"{{visitor.note: {{matches: {'x' * 501}}}}}",
            "the pattern has 501 characters; at most 500 are allowed",
        ),
        (
            r"{said: {matches: '(\w+\W+){0,1000}zz'}}",
            f"the pattern would take too long: it is too large; {LESS}",
        ),
        (
            "{said: {matches: '.{0,1000}.{0,1000}x'}}",
            (
                "the pattern would take too long: up to 6,005 steps for each character of a text, "
                f"of 750 allowed; {LESS}"
            ),
        ),
        (
            "{said: {matches: '((a{0,10}){0,10}){0,10}b'}}",
            (
                "the pattern would take too long: up to 2,104 steps for each character of a text, "
                f"of 750 allowed; {LESS}"
            ),
        ),
        (
            "{visitor.note: $VIP}",
            (
                "'$VIP' looks like the name of a secret, which means nothing in a condition; "
                "put quotes around it if the text itself is meant"
            ),
        ),
        (
            "{any: {missed: true}}",
            (
                "`any:` takes a list, got a mapping (`key: value`); "
                "write `any: [{missed: true}, {rating: {at_most: 2}}]`"
            ),
        ),
        (
            "{all: []}",
            (
                "`all:` takes a list, got an empty list; "
                "write `all: [{missed: true}, {rating: {at_most: 2}}]`"
            ),
        ),
        (
            "{not: [{missed: true}]}",
            (
                "expected a mapping, got a list; "
                "leave out the dashes; for a choice put the list under `any:`"
            ),
        ),
        (
            "allways",
            (
                "expected conditions such as `missed: true`, got 'allways'; "
                "write `when: always`, or a mapping such as {missed: true}"
            ),
        ),
        (
            "{}",
            (
                "expected conditions such as `missed: true`, got an empty mapping; "
                "write `when: always` if every chat is meant"
            ),
        ),
    ],
)
def test_a_condition_that_can_t_be_read_says_what_may_stand_there(
    condition: str, words: str
) -> None:
    assert trouble(condition) == words


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda operator: operator.name)
def test_each_operator_s_example_can_be_used(operator: object) -> None:
    example = operator.example  # type: ignore[attr-defined]
    assert a_book(a_rule_when(f"{{{example}}}")).rules


def test_a_quoted_text_may_look_like_a_secret() -> None:
    assert holds("{visitor.note: '$VIP'}", noted("$vip"))


def test_a_pattern_that_would_hang_other_engines_is_answered() -> None:
    assert not holds("{visitor.note: {matches: '^(a+)+$'}}", noted("a" * 50_000 + "!"))
