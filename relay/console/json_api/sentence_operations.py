"""Operations on the sentences of notifications, and functions that operations on templates share with them."""

import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.file_access import template_folder
from relay.console.json_api.api_request import Call, Line, copied
from relay.console.json_api.delivery_json import ShownNotification, shown_notification
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import Refusal, missing, wrong
from relay.console.wording_pages import act_on_sentence
from relay.languages import OWN
from relay.languages.catalogue_writer import NotChanged
from relay.outbox.user_accounts import Role
from relay.services import in_thread
from relay.services.draft_trial import NoSuchChat
from relay.services.publish_rules import Changed, FileIsReadOnly, NotPublished, NotUsable
from relay.services.sentences import (
    LONGEST,
    Sentence,
    Sentences,
    UnknownLanguage,
    UnknownSentence,
    Wording,
    draft_catalogue,
    find_sentence,
    problems_with,
    sentences_with,
    without_line_breaks,
)
from relay.services.wording_preview import SAMPLES, chosen_chats
from relay.smartsupp import UnreadableHook

wording = Operations("Wording")
NO_FILE = "none"
"""The ETag where the user has no own file."""
Hash = Annotated[
    str,
    Meta(
        description="SHA-256 in hex of the user's file, which is also the ETag; `none` where there is none."
    ),
]
ReadOnlyWhy = Annotated[
    str | None, Meta(description="Why nothing can be changed; null where it can.")
]
FormText = Annotated[str, Meta(max_length=LONGEST, pattern=r"^[^\u0000]*$")]
Forms = Annotated[
    tuple[FormText, ...],
    Meta(
        max_length=10,
        description="The words, one for each plural form; places such as `{who}` must stay.",
    ),
]


class WordingQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Filters of the list of sentences."""

    language: Annotated[
        Line, Meta(description="A tag such as `cs`; left out: that of the rules.")
    ] = ""
    q: Annotated[
        str, Meta(max_length=200, description="Words of it, in English or the language.")
    ] = ""
    own: Annotated[bool, Meta(description="Only those that were changed.")] = False


class SentenceName(Struct, forbid_unknown_fields=True):
    """A path that ends with a language and the key of a sentence."""

    language: Annotated[str, Meta(max_length=50, description="A tag such as `cs`.")]
    key: Annotated[str, Meta(max_length=50, description="The `key` that `/wordings` lists.")]


class SentenceText(Struct, kw_only=True):
    """A sentence of notifications."""

    key: str
    """The key of the sentence in paths."""
    source: tuple[str, ...]
    """The English text, with its plural if it has one."""
    places: tuple[str, ...]
    """The placeholders, such as `{who}`."""
    shipped: tuple[str, ...]
    """The relay's own text, in each plural form."""
    own: tuple[str, ...]
    """The user's text, in each plural form; empty without one."""
    mistakes: tuple[str, ...]
    """Why `own` is not used; empty where it is."""
    numbers: tuple[str, ...]
    """The numbers for which each plural form is used; empty for a text without plural."""


class WordingList(Struct, kw_only=True):
    """The sentences of notifications in a language."""

    language: str
    """The tag of the language."""
    languages: tuple[str, ...]
    """The tags of all languages."""
    read_only: ReadOnlyWhy
    problem: str
    """Why the user's catalogue is not used; usually empty."""
    sentences: list[SentenceText]
    """The sentences, those of templates first."""


class OneSentence(Struct, kw_only=True):
    """A sentence, and the hash of the catalogue that contains it."""

    sentence: SentenceText
    """The texts of the sentence."""
    hash: Hash
    read_only: ReadOnlyWhy


class SentenceRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """The user's text for a sentence."""

    said: Forms


class PreviewOf(Struct, kw_only=True, forbid_unknown_fields=True):
    """The chat that a preview shows."""

    chat: Annotated[
        Line, Meta(description="Its number, or `account/id`; left out: a sample chat.")
    ] = ""
    sample: Annotated[
        Line,
        Meta(description=f"One of {', '.join(SAMPLES)}; left out: the first that says the words."),
    ] = ""


class SentencePreviewRequest(PreviewOf, kw_only=True, forbid_unknown_fields=True):
    """A text for a sentence, to preview before it is saved."""

    said: Forms


class WordingPreview(Struct, kw_only=True):
    """Rendered notifications. Nothing is sent."""

    problems: list[str]
    """Why the text can't be saved; the preview then shows the saved one."""
    is_said: bool
    """Whether the notification of this chat contains the text."""
    notifications: list[ShownNotification]
    """The notification as email, Slack post, Teams card: once for each medium that people read."""


@wording.operation(HttpMethod.GET, "/wordings", Role.EDITOR)
async def list_wordings(call: Call, query: WordingQuery) -> WordingList:
    """The sentences of notifications in a language, the user's beside the relay's own."""
    sentences, tag = (
        sentences_of(call),
        query.language or call.running.parts.in_force.rules.language,
    )
    try:
        catalogue = await sentences.read(tag)
    except UnknownLanguage:
        raise wrong("language", f"one of {', '.join(sentences.languages())}") from None
    return WordingList(
        language=tag,
        languages=await in_thread(lambda _: sentences.languages()),
        read_only=catalogue.file.read_only,
        problem=catalogue.problem,
        sentences=[
            copied(SentenceText, each)
            for each in sentences_with(catalogue, query.q, only_own=query.own)
        ],
    )


@wording.operation(HttpMethod.GET, "/wordings/{language}/{key}", Role.EDITOR)
async def get_wording(call: Call, path: SentenceName) -> OneSentence:
    """A sentence, with the hash of the user's catalogue as the ETag."""
    return await _answer(call, path)


@wording.operation(
    HttpMethod.PUT,
    "/wordings/{language}/{key}",
    Role.EDITOR,
    refusals=(409, 412, 428),
    if_match=True,
)
async def change_wording(call: Call, path: SentenceName, body: SentenceRequest) -> OneSentence:
    """Replace the text of a sentence by the user's, within seconds."""
    catalogue, sentence = await _sentence_at(call, path)
    texts = tuple(map(without_line_breaks, body.said))
    texts = ("",) * len(texts) if texts == sentence.shipped else texts
    return await _changed(call, path, catalogue.file.hash, texts)


@wording.operation(
    HttpMethod.DELETE,
    "/wordings/{language}/{key}",
    Role.EDITOR,
    refusals=(409, 412, 428),
    if_match=True,
)
async def reset_wording(call: Call, path: SentenceName) -> OneSentence:
    """Restore the relay's own text of a sentence."""
    catalogue, sentence = await _sentence_at(call, path)
    return await _changed(call, path, catalogue.file.hash, ("",) * len(sentence.shipped))


@wording.operation(HttpMethod.POST, "/wordings/{language}/{key}/preview", Role.EDITOR)
async def preview_wording(
    call: Call, path: SentenceName, body: SentencePreviewRequest
) -> WordingPreview:
    """A notification as each medium would show it with another text for a sentence."""
    catalogue, sentence = await _sentence_at(call, path)
    texts = tuple(map(without_line_breaks, body.said))
    problems = await in_thread(lambda _: problems_with(catalogue, sentence, texts))
    words = texts if any(texts) and not problems else sentence.words
    drafts = {}
    with contextlib.suppress(NotChanged):  # what the user's own templates say may be odd
        drafts = {f"{OWN}/{catalogue.tag}.po": draft_catalogue(catalogue, sentence, words)}
    return await preview(
        call, body, drafts, problems, template="", language=catalogue.tag, words=words[0]
    )


def sentences_of(call: Call) -> Sentences:
    """The sentences of the relay that answers a call."""
    return Sentences(template_folder(call.running))


async def _sentence_at(call: Call, path: SentenceName) -> tuple[Wording, Sentence]:
    """The sentence of a path. Raises Refusal where there is none."""
    try:
        catalogue = await sentences_of(call).read(path.language)
        return catalogue, find_sentence(catalogue, path.key)
    except (UnknownLanguage, UnknownSentence):
        raise missing("such sentence in such a language") from None


async def _answer(call: Call, path: SentenceName) -> OneSentence:
    catalogue, sentence = await _sentence_at(call, path)
    return OneSentence(
        sentence=copied(SentenceText, sentence),
        hash=catalogue.file.hash or NO_FILE,
        read_only=catalogue.file.read_only,
    )


async def _changed(
    call: Call, path: SentenceName, current: str, texts: Sequence[str]
) -> OneSentence:
    """The sentence after the change; `current`: the present hash of the catalogue. Raises Refusal."""
    doing = act_on_sentence(call.caller, path.language, path.key, texts)
    await saved(
        "said",
        sentences_of(call).change(path.language, path.key, texts, base_of(call, current), doing),
    )
    return await _answer(call, path)


# -- shared with templates -------------------------------------------------------------------------------------


def base_of(call: Call, current: str) -> str:
    """The hash that If-Match names of the user's file; empty where there must be none. Raises Refusal."""
    base = call.if_match(current or NO_FILE)
    return "" if base == NO_FILE else base


async def saved(member: str, saving: Awaitable[None]) -> None:
    """Await `saving`, which saves a user's file. Raises Refusal for its errors; `member`: the member of the body to blame."""
    try:
        await saving
    except Changed:
        words = "Somebody else has saved the file meanwhile. Read it again."
        raise Refusal(412, words, kind="file-changed") from None
    except FileIsReadOnly as error:
        words = f"The file can't be changed from here: {error.why.value}."
        raise Refusal(409, words, kind="file-read-only") from None
    except NotUsable as error:
        raise wrong(member, "; ".join(error.problems)) from None
    except NotPublished as error:
        raise Refusal(503, f"The disk did not take it: {error}.") from None


async def preview(
    call: Call,
    body: PreviewOf,
    drafts: Mapping[str, str],
    problems: Sequence[str],
    *,
    template: str,
    language: str,
    words: str = "",
) -> WordingPreview:
    """A chat's notification as each medium would show it with these files. Raises Refusal."""
    if body.sample and body.sample not in SAMPLES:
        raise wrong("sample", f"one of {', '.join(SAMPLES)}")
    try:
        _, bodies, now = await chosen_chats(call.sessions, body.chat, body.sample, call.now)
        rendered = await call.api.previews.show(
            drafts,
            bodies,
            now,
            template=template,
            language=language,
            zone=call.running.parts.in_force.rules.timezone,
            words=words,
        )
    except (NoSuchChat, UnreadableHook):
        raise wrong("chat", "there is no chat of this number or name that can be read") from None
    return WordingPreview(
        problems=list(problems),
        is_said=rendered.has_words,
        notifications=[
            shown_notification(each.notification, each.transport, each.made_at, each.trouble)
            for each in rendered.media
        ],
    )
