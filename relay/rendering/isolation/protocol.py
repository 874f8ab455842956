"""The requests to a worker and its answers, and their encoding.

A template may have taken over a worker, so its answers are decoded as exactly these types and
trusted no further.
"""

import struct
import time
from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from relay.destination import VISITOR
from relay.notification import Notification
from relay.rendering.template_folders import DIGEST
from relay.timing.digest_contents import Digest

MAX_FRAME = 32 * 1024 * 1024
"""The most bytes of a frame. A hook has at most 1 MiB; the worst one, with 260,000 empty messages, gives 16 MiB."""
_LENGTH = struct.Struct(">I")


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """The limits of one request; the kernel ends a worker that exceeds them."""

    computing: float
    """Seconds of processor time, which do not depend on how busy the machine is."""
    waiting: float
    """Seconds since the worker began the request, for example while it waits for a file."""


class Render(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """A request to render a template for a chat."""

    limits: Limits
    body: bytes
    """The hook's raw bytes, which are parsed once for several recipients."""
    template: str
    rule: str
    language: str
    zone: str
    """The name of an IANA time zone."""
    public_url: str
    bodies: bool
    arrived: datetime | None = None
    """When the hook arrived; used if the chat has no time."""
    reply_to: str = VISITOR
    """The recipient of replies, as in `Destination.reply_to`."""
    transport: str
    """The transport whose override is rendered if the template has one."""
    form: str = ""
    """The destination's own JSON, used instead of the template's; empty if there is none."""
    front: str = ""
    """A folder inside the first template folder, whose files take precedence over all others; empty for none."""


class RenderDigest(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """A request to render a digest with the templates in `digest/`."""

    limits: Limits
    digest: Digest
    language: str
    zone: str
    """The name of an IANA time zone."""
    public_url: str
    bodies: bool
    template: str = DIGEST
    front: str = ""
    """A folder whose files take precedence over all others, as in `Render.front`."""


class Check(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """A request to test a template with made-up chats, or to test `forms` instead of the template's files."""

    limits: Limits
    template: str
    transport: str = ""
    forms: tuple[str, ...] = ()
    """A destination's own JSON, as in `Render.form`."""
    in_no_hurry: bool
    """Whether the worker runs at the lowest priority from now on."""
    front: str = ""
    """A folder whose files take precedence over all others, as in `Render.front`."""


class Rendered(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """The answer to Render: a notification by the template, or in the built-in wording."""

    notification: Notification
    trouble: str
    """The template's problem as `file:line: problem`; empty if there is none."""
    memory: int
    """The most bytes of memory that the worker ever used."""


class Checked(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """The answer to Check: a template's problems, each as `file:line: problem`.

    With forms, one text for each form, empty if it is fine.
    """

    problems: list[str]


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """The answer of a worker whose own code failed, with the traceback."""

    traceback: str


class Ended(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """The foreman's report that a worker has ended."""

    code: int
    """The worker's exit status, or the negative number of the signal that ended it."""


Request = Render | RenderDigest | Check
Answer = Rendered | Checked | Failed | Ended


def framed(value: Request | Answer) -> bytes:
    """Return a value as it is sent: its length, then MessagePack."""
    encoded = msgspec.msgpack.encode(value)
    return _LENGTH.pack(len(encoded)) + encoded


class Frames:
    """Splits received bytes into frames."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, data: bytes) -> list[memoryview]:
        """Return the frames that are complete by now, if possible as views of `data`.

        Raises ValueError for a frame that is too long.
        """
        if self._begun:
            self._begun += data
            if len(self._begun) < _end(self._begun, 0):
                return []
            data, self._begun = bytes(self._begun), bytearray()
        start, view, whole = 0, memoryview(data), []
        while (end := _end(data, start)) <= len(data):
            whole.append(view[start + _LENGTH.size : end])
            start = end
        self._begun += view[start:]
        return whole


def _end(data: bytes | bytearray, start: int) -> int:
    """Return the end of the frame that starts at `start`, as far as it is known."""
    if len(data) < start + _LENGTH.size:
        return start + _LENGTH.size
    (length,) = _LENGTH.unpack_from(data, start)
    if length > MAX_FRAME:
        raise ValueError(f"{length:,} bytes are announced; at most {MAX_FRAME:,} may come")
    return start + _LENGTH.size + int(length)


FEW = 2
"""The most renderings of one request that are answered one by one, each when it is done."""
BUNDLE = 0.005
"""The most seconds that an answer waits to be sent with the next ones."""


def in_bundles(answers: Iterable[bytes], wait: float) -> Iterator[bytes]:
    """Join answers that are made within `wait` seconds, because each write wakes the relay up."""
    bundle, begun = [], time.monotonic()
    for answer in answers:
        bundle.append(answer)
        if time.monotonic() - begun >= wait:
            yield b"".join(bundle)
            bundle, begun = [], time.monotonic()
    if bundle:
        yield b"".join(bundle)
