"""The servers of a journey: a mail server, and Slack and Teams as the wire shows them."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from tests.servers import HttpAnswer, HttpRequest, HttpServer, HttpStep, SmtpServer, json_answer

ROOM = "/services/T0/B0/room"
TEAM = "/workflows/managers/triggers/manual/paths/invoke"
API = "/api/chat.postMessage"


class ReceivingServers:
    """All of them take what comes, unless a test scripts `mail` or puts steps for a path into `script`."""

    def __init__(self, mail: SmtpServer | None = None) -> None:
        self.mail = mail or SmtpServer()
        self.web = HttpServer(usual=self._answer)
        self.script: dict[str, list[HttpStep]] = {}

    async def __aenter__(self) -> Self:
        await self.mail.__aenter__()
        await self.web.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.web.__aexit__(kind, error, trace)
        await self.mail.__aexit__(kind, error, trace)

    @property
    def settings(self) -> Mapping[str, Any]:
        """For `running_relay`: where they are, under the names of rules.example.yaml and our own."""
        return {
            "smtp": self.mail.port,
            "http": self.web.port,
            "ROOM_WEBHOOK": self.web.url(ROOM),
            "SLACK_SUPPORT_WEBHOOK": self.web.url(ROOM),
            "TEAMS_MANAGERS_WEBHOOK": self.web.url(f"{TEAM}?sig=abc"),
            "RELAY_SLACK_TOKEN": "xoxb-for-tests",
            "RELAY_SLACK_API_URL": self.web.url("/api"),
        }

    async def hang_up(self) -> None:
        """Slack and Teams are gone, and with them every connection."""
        await self.web.__aexit__(None, None, None)

    def at(self, path: str, *steps: HttpStep) -> None:
        """What a path does instead, once each, before it takes what comes again."""
        self.script.setdefault(path, []).extend(steps)

    def _answer(self, request: HttpRequest) -> HttpStep:
        path = request.target.partition("?")[0]
        if steps := self.script.get(path):
            return steps.pop(0)
        if path == TEAM:
            return HttpAnswer(status=202, body="")
        if path == ROOM:
            return HttpAnswer()
        return json_answer({"ok": True, "ts": "1763.000100", "channel": "C0123456789"})

    def requests(self, path: str) -> list[HttpRequest]:
        return [one for one in self.web.requests if one.target.partition("?")[0] == path]

    def posts(self, path: str) -> list[str]:
        """What each post to a path says, a line for each piece of text; replies in a thread left out."""
        said = [one.json() for one in self.requests(path)]
        return ["\n".join(texts(one)) for one in said if not one.get("thread_ts")]

    async def posted(self, path: str, count: int) -> list[str]:
        """The posts, once there are so many."""
        await self.web.until(lambda: len(self.posts(path)) >= count)
        return self.posts(path)


def texts(json: Any) -> Iterator[str]:
    """Every piece of text in what is sent to Slack or Teams."""
    if isinstance(json, Mapping):
        for key, value in json.items():
            if key == "text" and isinstance(value, str):
                yield value
            else:
                yield from texts(value)
    elif isinstance(json, list):
        for value in json:
            yield from texts(value)
