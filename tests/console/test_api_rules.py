"""The rules file and long work, by the JSON API."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.builders import a_hook
from tests.console.visiting import PASSWORD, Program, Visitor, a_program, acts
from tests.running import DEADLINE, RunningRelay, running_relay
from tests.servers import SmtpServer


def console(folder: Path, **more: Any) -> Any:
    return running_relay(folder, RELAY_CONSOLE_PASSWORD=PASSWORD, RELAY_CONSOLE_EDIT="yes", **more)


NEW_RULE = "  - {name: New, when: {missed: true}, send_to: desk}\n"


async def ended(program: Program, job: dict[str, Any]) -> dict[str, Any]:
    """The job after its end."""
    async with asyncio.timeout(DEADLINE):
        while job["ended_at"] is None:
            got = await program.get(job["location"])
            assert got.status in {200, 503}, got.detail  # 503: a busy computer; ask again
            job = got.json if got.status == 200 else job
    return job


async def test_rules_are_read_published_and_undone(tmp_path: Path) -> None:
    async with console(tmp_path) as relay:
        program = await a_program(relay)
        was = await program.get("/rules")
        assert was.headers["etag"] == f'"{was.json["hash"]}"'
        assert (was.json["is_in_force"], was.json["read_only"]) == (True, None)
        changed = {"text": was.json["text"] + "\n# by a program\n", "message": "say who"}
        done = await program.put("/rules", changed, if_match=was.headers["etag"])
        assert (done.status, done.json["is_new"], done.json["is_in_force"]) == (200, True, True)
        path = next(tmp_path.glob("*.yaml"))
        assert path.read_text("utf-8") == changed["text"]
        late = await program.put("/rules", changed | {"text": "x"}, if_match=was.headers["etag"])
        assert (late.status, late.json["type"].rpartition(":")[2]) == (412, "rules-changed")
        newest, *_ = (await program.get("/rules/versions?limit=1")).json["versions"]
        assert (newest["by"], newest["message"]) == ("admin (token robot)", "say who")
        checked = (await program.post("/rules/check", {"text": was.json["text"] + NEW_RULE})).json
        assert [(one["kind"], one["name"]) for one in checked["changes"]] == [("rule added", "New")]
        asked: dict[str, Any] = {"kind": "missed", "name": "New", "send_to": ["desk"]}
        new = (await program.post("/rules/new", asked | {"text": was.json["text"]})).json
        assert new["text"].splitlines()[new["line"] - 1] == "  - name: New"
        assert new["text"].startswith(was.json["text"].rstrip("\n"))
        assert (await program.post("/rules/new", asked)).json["rule"] == new["rule"]
        for name, value in {"kind": "x", "send_to": [], "within": "x", "text": "rules: ["}.items():
            assert (await program.post("/rules/new", asked | {name: value})).status == 422
        mine = {"base": was.json["hash"], "text": was.json["text"].replace("room:", "room: ")}
        both = (await program.post("/rules/merge", mine)).json
        assert both["text"] == changed["text"].replace("room:", "room: ")
        assert both["hash"] == done.json["hash"]
        same = mine | {"text": was.json["text"] + "\n# by me\n"}
        assert (await program.post("/rules/merge", same)).status == 409
        assert (await program.post("/rules/merge", mine | {"base": "0" * 64})).status == 404
        newest = (await program.get(f"/rules/versions/{done.json['hash']}")).json
        assert newest["changes"] == []
        kept = await program.get(f"/rules/versions/{was.json['hash']}")
        assert kept.json["text"] == was.json["text"]
        several = f'"{"0" * 64}", {done.headers["etag"]}'
        weak = f"W/{done.headers['etag']}"
        assert (await program.post("/rules/undo", None, if_match=weak)).status == 412
        undone = await program.post("/rules/undo", None, if_match=several)
        assert (undone.status, undone.json["hash"]) == (200, was.json["hash"])
        assert [act[:3] for act in acts(relay)][-2:] == [
            ("admin (token robot)", "api", "publish rules"),
            ("admin (token robot)", "api", "undo rules"),
        ]
        assert (await program.get("/rules/versions/" + "0" * 64)).status == 404


async def test_what_can_not_be_used_is_not_published(tmp_path: Path) -> None:
    async with console(tmp_path) as relay:
        program, editor = await a_program(relay), await a_program(relay, "editor")
        was = await program.get("/rules")
        etag, text = was.headers["etag"], was.json["text"]
        assert (await program.put("/rules", {"text": text})).status == 428
        for wrong in ("W/" + etag, '"x"', "*"):
            assert (await program.put("/rules", {"text": text + "#"}, if_match=wrong)).status == 412
        broken = text.replace("missed:", "mised:")
        assert broken != text
        refused = await program.put("/rules", {"text": broken}, if_match=etag)
        assert (refused.status, refused.json["type"].rpartition(":")[2]) == (422, "rules-unusable")
        assert {each["severity"] for each in refused.json["problems"]} == {"error"}
        assert refused.json["problems"][0]["line"] > 0
        checked = (await editor.post("/rules/check", {"text": broken})).json
        (problem, *_) = checked["problems"]
        (fix, *_) = problem["fixes"]
        assert (checked["ok"], fix["text"], checked["changes"]) == (False, "missed", None)
        assert problem | {"fixes": []} == refused.json["problems"][0]
        assert (await editor.post("/rules/check", {"text": text})).json["ok"] is True
        too_long = await editor.post("/rules/check", {"text": "#" * 1_000_001})
        assert (too_long.status, list(too_long.json["fields"])) == (422, ["text"])
        elsewhere = text.replace("@example.com", "@example.net")
        for_admins = await editor.put("/rules", {"text": elsewhere}, if_match=etag)
        assert (for_admins.status, for_admins.json["type"].rpartition(":")[2]) == (
            403,
            "for-admins",
        )
        assert (await program.get("/rules")).json["hash"] == was.json["hash"]
        for saved in (broken, text):
            next(tmp_path.glob("*.yaml")).write_text(saved, "utf-8")
            newest = "SELECT hash FROM rules_versions ORDER BY id DESC LIMIT 1"
            await relay.until(newest, (hashlib.sha256(saved.encode()).hexdigest(),))
        undone = await program.post("/rules/undo", None, if_match=etag)
        assert (undone.status, undone.json.get("problems", [])) == (422, [])
        assert "mised" in undone.json["detail"]


async def test_a_text_is_tried_on_a_chat_and_on_the_cases(tmp_path: Path) -> None:
    async with console(tmp_path) as relay:
        await relay.post(a_hook(1, missed=True, visitor={"name": "Ana"}))
        program = await a_program(relay, "editor")
        text = (await program.get("/rules")).json["text"]
        draft = text.replace("Missed chats", "Lost chats").replace("[desk, room]", "[room, desk]")
        tried = (await program.post("/rules/try", {"chat": "208/1", "text": draft})).json
        rules = {one["rule"]: one for one in tried["rules"]}
        assert rules["Lost chats"]["in_force"] is None
        assert rules["Lost chats"]["draft"]["answer"] == "yes"
        assert rules["Lost chats"]["draft"]["findings"][0]["holds"] is True
        assert (rules["Missed chats"]["draft"], rules["Missed chats"]["is_changed"]) == (None, True)
        shown = {one["destination"]: one["notification"] for one in tried["notifications"]}
        assert "Ana" in shown["desk"]["html"]
        assert shown["desk"]["message"] is None
        assert "Ana" in str(shown["room"]["message"])
        in_force = (await program.post("/rules/try", {"chat": "1"})).json
        assert [one["is_changed"] for one in in_force["rules"]] == [False] * len(in_force["rules"])
        for chat in ("", "x", "999", "9" * 40):
            assert (await program.post("/rules/try", {"chat": chat})).status == 422
        broken = await program.post("/rules/try", {"chat": "1", "text": "rules: ["})
        assert (broken.status, broken.json["problems"][0]["line"] > 0) == (422, True)
        assert (await program.post("/rules/test", {"text": text})).status == 404
        path = next(tmp_path.glob("*.yaml"))
        beside = path.with_name(f"{path.stem}.test.yaml")
        beside.write_text(
            "cases:\n  - {name: a, chat: {missed: true}, expect: Missed chats}\n"
            "  - {name: b, chat: {missed: false}, expect: Missed chats}\n"
        )
        run = (await program.post("/rules/test", {"text": text})).json
        assert (run["passed"], run["failed"]) == (1, 1)
        assert [(one["name"], one["line"], one["passed"]) for one in run["cases"]] == [
            ("a", 2, True),
            ("b", 3, False),
        ]
        assert run["cases"][1]["differences"][0]["missing"] == ["Missed chats"]
        beside.write_text("cases: [{name: a}]")
        assert (await program.post("/rules/test", {"text": text})).json["problems"]


async def test_a_rule_is_read_in_words_and_switched(tmp_path: Path) -> None:
    async with console(tmp_path) as relay:
        await relay.post(a_hook(1, missed=True))
        program, viewer = await a_program(relay), await a_program(relay, "viewer")
        (rule, *_) = (await viewer.get("/rules/in-force")).json["rules"]
        assert (rule["name"], rule["is_on"], rule["chats"]) == ("Missed chats", True, 1)
        whole = (await viewer.get("/rules/in-force/Missed%20chats")).json
        assert (whole["rule"], "name: Missed chats" in whole["text"]) == (rule, True)
        assert (await viewer.get("/rules/in-force/x")).status == 404
        was = await program.get("/rules")
        asked = {"rule": "Missed chats", "on": False}
        assert (await program.post("/rules/switch", asked)).status == 428
        got = await program.post("/rules/switch", asked, if_match=was.headers["etag"])
        assert (got.status, got.json["is_in_force"]) == (200, True)
        assert (await viewer.get("/rules/in-force")).json["rules"][0]["is_on"] is False
        late = await program.post(
            "/rules/switch", asked | {"on": True}, if_match=was.headers["etag"]
        )
        assert late.status == 412
        unknown = await program.post(
            "/rules/switch", {"rule": "x", "on": True}, if_match=got.headers["etag"]
        )
        assert (unknown.status, list(unknown.json["fields"])) == (422, ["rule"])
        assert acts(relay)[-1][1:4] == ("api", "turn off rule", "Missed chats")
        schema = (await program.get("/rules/schema")).json["schema"]
        assert "rules" in schema["properties"]


async def test_a_file_that_is_read_only_says_so(tmp_path: Path) -> None:
    async with running_relay(
        tmp_path, RELAY_CONSOLE_PASSWORD=PASSWORD, RELAY_CONSOLE_EDIT="no"
    ) as relay:
        program = await a_program(relay)
        was = await program.get("/rules")
        assert was.json["read_only"] is not None
        got = await program.put(
            "/rules", {"text": was.json["text"] + "#"}, if_match=was.headers["etag"]
        )
        assert (got.status, got.json["type"].rpartition(":")[2]) == (409, "rules-read-only")


async def test_rules_are_tried_on_the_past_and_the_job_is_the_tokens_own(tmp_path: Path) -> None:
    async with console(tmp_path) as relay:
        for number in range(3):
            await relay.post(a_hook(number, missed=True))
        program = await a_program(relay, "editor")
        text = (await program.get("/rules")).json["text"]
        begun = await program.post("/backtests", {"text": text, "period": "all"})
        assert (begun.status, begun.headers["location"]) == (202, begun.json["location"])
        job = await ended(program, begun.json)
        assert (job["state"], job["backtest"]["chats"]) == ("done", 3)
        other = await a_program(relay, "admin", "other")
        assert (await other.get(job["location"])).status == 404
        assert (await program.delete(job["location"])).json["state"] == "done"
        broken = await program.post("/backtests", {"text": "rules: ["})
        assert (broken.status, list(broken.json["fields"])) == (422, ["text"])


async def test_all_that_failed_for_one_cause_is_sent_again_once(tmp_path: Path) -> None:
    async with (
        SmtpServer().at("rcpt", "550 5.1.1 user unknown", times=3) as mail,
        console(tmp_path, smtp=mail.port) as relay,
    ):
        for number in range(3):
            await relay.post(a_hook(number, missed=True))
        await relay.until("SELECT count(*) FROM deliveries WHERE state = 'failed'", (3,))
        program = await a_program(relay, "editor")
        (group,) = (await program.get("/deliveries/causes")).json["failed"]
        asked = {"group": group["id"], "expect": 2}
        wrong = await program.post("/resends", asked, idempotency_key="all")
        assert (wrong.status, wrong.json["type"].rpartition(":")[2]) == (409, "another-count")
        asked["expect"] = 3
        begun = [await program.post("/resends", asked, idempotency_key="all") for _ in range(2)]
        assert [each.status for each in begun] == [202, 202]
        assert begun[0].json["id"] == begun[1].json["id"]
        job = await ended(program, begun[0].json)
        assert job["resends"] == {"total": 3, "queued": 3, "passed_by": 0, "left": 0}
        await relay.until("SELECT count(*) FROM deliveries WHERE state = 'delivered'", (3,))
        assert sum(act[2] == "send all again" for act in acts(relay)) == 1
        gone = await program.post("/resends", asked)
        assert gone.status == 404


async def test_the_bytes_of_an_unreadable_post_are_for_admins(tmp_path: Path) -> None:
    async with console(tmp_path) as relay:
        await relay.post(b"no hook at all")
        viewer, admin = await a_program(relay, "viewer"), await a_program(relay)
        (post,) = (await viewer.get("/unreadable-posts")).json["posts"]
        assert (post["size"], "body" in post) == (14, False)
        assert (await viewer.get(f"/unreadable-posts/{post['id']}")).status == 403
        whole = (await admin.get(f"/unreadable-posts/{post['id']}")).json
        assert whole == {"post": post, "body": "no hook at all"}


async def test_no_answer_of_the_api_holds_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "CANARY-value-of-a-secret"
    async with (
        SmtpServer().at("rcpt", "550 5.1.1 user unknown", times=None) as mail,
        console(tmp_path, smtp=mail.port, RELAY_WEBHOOK_SECRET=secret) as relay,
    ):
        await relay.post(a_hook(1, missed=True))
        await relay.until("SELECT count(*) FROM deliveries WHERE state = 'failed'", (1,))
        program = await a_program(relay)
        made = (
            await program.post("/tokens", {"name": "canary", "role": "viewer", "days": 7})
        ).json["token"]
        link = (await program.post("/users", {"name": "canary", "role": "viewer"})).json["link"]
        hidden = [secret, PASSWORD, program.token, made, link[-43:], hook_token(relay), "$argon2"]
        document = (await program.get("/openapi.json")).json
        for path in document["paths"]:
            if "get" not in document["paths"][path]:
                continue
            place = path.replace("{number}", "1").replace("{name}", "desk")
            place = place.replace("{hash}", (await program.get("/rules")).json["hash"])
            text = await (await _raw(program, place)).text()
            assert not [each for each in hidden if each in text], place
        assert not [each for each in hidden if each in caplog.text]


def hook_token(relay: RunningRelay) -> str:
    return relay.hook_url.rpartition("/")[2]


async def _raw(program: Program, path: str) -> Any:
    visitor = Visitor(program.relay)
    return await visitor.relay.client.get(
        f"{program.relay.url}/api/v1{path}", headers={"authorization": f"Bearer {program.token}"}
    )


async def test_a_viewer_reads_no_secret_in_a_text_that_was_refused(tmp_path: Path) -> None:
    async with console(tmp_path) as relay:
        programs = {role: await a_program(relay, role) for role in ("viewer", "editor")}
        path = next(tmp_path.glob("*.yaml"))
        secret = "https://hooks.slack.com/services/T0/B0/canarycanary"
        path.write_text(path.read_text().replace("$ROOM_WEBHOOK", secret))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        await relay.until("SELECT hash FROM rules_versions ORDER BY id DESC LIMIT 1", (digest,))
        for place in ("/rules", f"/rules/versions/{digest}"):
            texts = {role: (await each.get(place)).json["text"] for role, each in programs.items()}
            assert "canary" not in texts["viewer"]
            assert "name: Missed chats" in texts["viewer"]
            assert texts["editor"] == path.read_text()


async def test_a_destination_of_any_name_is_asked_for_and_paused(tmp_path: Path) -> None:
    async with console(tmp_path) as relay:
        program = await a_program(relay)
        was = await program.get("/rules")
        for name in ("a/b", "/", "pause", "a%2Fb", "a b/c?d#e", "é/x"):
            text = was.json["text"].replace("desk:", f"'{name}':").replace("[desk", f"['{name}'")
            etag = (await program.get("/rules")).headers["etag"]
            done = await program.put("/rules", {"text": text}, if_match=etag)
            assert (done.status, done.json["is_in_force"]) == (200, True)
            place = f"/destinations/{quote(name, safe='')}"
            assert (await program.get(place)).json["name"] == name
            for act in ("pause", "resume"):
                body = {"because": "it moves"} if act == "pause" else None
                assert (await program.post(f"{place}/{act}", body)).status == 200
            assert acts(relay)[-1][2:4] == ("resume", name)
