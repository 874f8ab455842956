"""What the relay asks of a worker, and what comes back: values, and how they travel.

A worker may have been taken over by a template, so nothing that it sends is trusted to be more than these values.
"""

import struct
import time
from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from relay.destination import VISITOR
from relay.notification import Notification
from relay.rendering.folders import DIGEST
from relay.timing.digest import Digest

MAX_FRAME = 32 * 1024 * 1024
"""Bytes. A hook has at most 1 MiB; 260,000 empty messages, the worst that fits, come back as 16 MiB."""
_LENGTH = struct.Struct(">I")


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """What one thing asked for may take; the kernel ends a worker that takes more."""

    computing: float
    """Seconds of processor time: the same work, however busy the machine is."""
    waiting: float
    """Seconds on the clock since the worker began with it: for a file that can't be read, say."""


class Render(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """The request to fill in a template for a chat."""

    limits: Limits
    body: bytes
    """The hook's raw bytes; they are read once for several recipients."""
    template: str
    rule: str
    language: str
    zone: str
    """IANA."""
    public_url: str
    bodies: bool
    arrived: datetime | None = None
    """When the hook came, for a chat that says no time."""
    reply_to: str = VISITOR
    """Where replies go; the values are those of `Destination.reply_to`."""
    transport: str
    """Whose override to put in, where the template has one."""
    form: str = ""
    """JSON of the destination's own, in place of the template's; empty where it has none."""
    front: str = ""
    """A folder in the first of the worker's folders, whose files go before all others; empty for none."""


class RenderDigest(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """The request to write a digest by the templates in `digest/`."""

    limits: Limits
    digest: Digest
    language: str
    zone: str
    """IANA."""
    public_url: str
    bodies: bool
    template: str = DIGEST


class Check(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """Try a template out with made-up chats; with `forms`, not its files but these."""

    limits: Limits
    template: str
    transport: str = ""
    forms: tuple[str, ...] = ()
    """JSON of a destination's own, as in `Render`."""
    in_no_hurry: bool
    """The worker lets everything else on the machine go first, for as long as it lives."""
    front: str = ""
    """As in `Render`."""


class Rendered(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """A template that was filled in, or else the built-in wording."""

    notification: Notification
    trouble: str
    """`file:line: what` where the template is broken; empty where all is well."""
    memory: int
    """The most bytes that the worker ever had in memory."""


class Checked(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """What is wrong with a template, each as `file:line: what`; or with each of the forms, empty where nothing is."""

    problems: list[str]


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """The answer of a worker that failed itself."""

    traceback: str


class Ended(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """The foreman's word on a worker that is no more."""

    code: int
    """An exit status, or the number of a signal as a negative number."""


Asked = Render | RenderDigest | Check
Answer = Rendered | Checked | Failed | Ended


def framed(value: Asked | Answer) -> bytes:
    """A value as it is sent over the line: its length, then MessagePack."""
    encoded = msgspec.msgpack.encode(value)
    return _LENGTH.pack(len(encoded)) + encoded


class Frames:
    """Bytes as they come in -> whole frames."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, data: bytes) -> list[memoryview]:
        """The frames that are complete by now, where possible as views of `data`.

        Raises ValueError for one that is too long.
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
    """Where a frame that starts here ends, as far as that is known."""
    if len(data) < start + _LENGTH.size:
        return start + _LENGTH.size
    (length,) = _LENGTH.unpack_from(data, start)
    if length > MAX_FRAME:
        raise ValueError(f"{length:,} bytes are announced; at most {MAX_FRAME:,} may come")
    return start + _LENGTH.size + int(length)


FEW = 2
"""The most renderings of one request that are answered one by one, each as soon as it is done."""
BUNDLE = 0.005
"""Seconds that an answer of more than a few may wait for the next ones."""


def in_bundles(answers: Iterable[bytes], wait: float) -> Iterator[bytes]:
    """Several at once where they are made quickly: each bundle wakes the relay up. `wait`: seconds, at most."""
    bundle, begun = [], time.monotonic()
    for answer in answers:
        bundle.append(answer)
        if time.monotonic() - begun >= wait:
            yield b"".join(bundle)
            bundle, begun = [], time.monotonic()
    if bundle:
        yield b"".join(bundle)
