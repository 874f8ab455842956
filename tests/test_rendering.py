"""A template that loops, eats memory or crashes costs its own notification the fine words, and nothing else."""

import asyncio
import contextlib
import ctypes
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.files import shipped
from relay.rendering.isolation.foreman_process import ForemanProcess, WorkerLine
from relay.rendering.isolation.protocol import (
    MAX_FRAME,
    Answer,
    Check,
    Ended,
    Frames,
    Limits,
    Render,
    Rendered,
    framed,
)
from relay.rendering.isolation.worker_pool import RENDERING, RenderingEnded, RenderPool
from tests.builders import NOON, a_hook
from tests.running import DEADLINE, TOKEN, RunningRelay, relay_process, running_relay, settings
from tests.servers import HttpAnswer, HttpRequest, HttpServer, SmtpServer

RULES = """\
destinations:
  desk: {email: {to: desk@example.com}}
  attic: {email: {to: attic@example.com}}
  room: {slack: {webhook: $ROOM_WEBHOOK}, rate: unlimited}
rules:
  - {name: Bad, when: {missed: true}, send_to: desk, template: bad}
  - {name: Worse, when: {dropped: true}, send_to: attic, template: worse}
  - {name: Good, when: {offline: true}, send_to: room, template: offline}
"""

TEN = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"
ENDLESS = f"{{% for a in {TEN} %}}" * 14 + "{% endfor %}" * 14
FLOOD = f"{{% for a in {TEN} %}}" * 7 + "x" * 1_000 + "{% endfor %}" * 7
COMPARISON = (  # of two lists that double at every step
    "{% set a = [1] %}{% set b = [1] %}"
    + "{% set a = [a, a] %}{% set b = [b, b] %}" * 40
    + "{{ a == b }}"
)
RECURSION = "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}"
# Doubled to a megabyte, which is then held a thousand times over.
MEMORY = (
    '{% set text0 = "𝄞𝄞𝄞𝄞" %}'
    + "".join(f"{{% set text{n + 1} = text{n} ~ text{n} %}}" for n in range(16))
    + "".join(f'{{% set held{n} = text16 ~ "{n}" %}}' for n in range(1_000))
)
LONG_MESSAGES = [{"type": "visitor", "content": "\N{GRINNING FACE}" * 25_000}] * 9
"""A megabyte."""
LOOPED = r"it took (more than 1 s of computing|longer than 10 s), and was ended"
"""On a machine with much else to do the clock is sooner there than the processor's second."""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def templates(folder: Path, **summaries: str) -> str:
    """A folder of templates with these summaries; the rest of them is shipped."""
    for name, summary in summaries.items():
        (folder / "templates" / name).mkdir(parents=True, exist_ok=True)
        (folder / "templates" / name / "summary.txt").write_text(summary, encoding="utf-8")
    return str(folder / "templates")


@contextlib.asynccontextmanager
async def a_relay(
    folder: Path, mail: SmtpServer, room: HttpServer, bad: str = ENDLESS, worse: str = ENDLESS
) -> AsyncIterator[RunningRelay]:
    own = templates(folder, bad=bad, worse=worse)
    async with running_relay(
        folder, rules=RULES, smtp=mail.port, http=room.port, RELAY_TEMPLATES=own
    ) as relay:
        yield relay


def an_asking(number: int) -> Render:
    return Render(
        limits=RENDERING,
        body=a_hook(number, visitor={"name": f"Visitor {number}"}),
        template="chat",
        rule="All",
        language="en",
        zone="UTC",
        public_url="",
        bodies=True,
        transport="email",
    )


def a_post(number: int) -> Render:
    return replace(an_asking(number), bodies=False, transport="slack")


@contextlib.asynccontextmanager
async def a_pool(*own: Path) -> AsyncIterator[RenderPool]:
    """With the shipped templates, and those of one's own."""
    pool = RenderPool((*own, shipped("templates")))
    try:
        yield pool
    finally:
        await pool.close()


def processes_below(process: int) -> list[int]:
    """A process's children and theirs, those nearest first."""
    told = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True
    )
    parents = {int(line.split()[0]): line.split()[1:] for line in told.stdout.splitlines()}
    found = [process]
    for one in found:
        found += [
            pid
            for pid, (parent, *words) in parents.items()
            if int(parent) == one and "relay.rendering.isolation.worker" in words
        ]
    return found[1:]


async def foreman_and_workers(relay: int) -> list[int]:
    """Once there is one."""
    async with asyncio.timeout(DEADLINE):
        while len(found := await asyncio.to_thread(processes_below, relay)) < 2:
            pass
    return found


async def kill_each_worker() -> None:
    """As soon as it is there, for ever: it renders, or it checks templates."""
    while True:
        for worker in (await asyncio.to_thread(processes_below, os.getpid()))[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def runs(process: int) -> bool:
    told = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True
    ).stdout.strip()
    return bool(told) and not told.startswith("Z")


async def until_gone(processes: list[int]) -> None:
    async with asyncio.timeout(DEADLINE):
        while any([await asyncio.to_thread(runs, process) for process in processes]):
            pass


@contextlib.contextmanager
def logged(words: str) -> Iterator[asyncio.Event]:
    """An event that is set when the log says so."""
    loop, said = asyncio.get_running_loop(), asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if words in record.getMessage():
                loop.call_soon_threadsafe(said.set)

    listener = Listener()
    logging.getLogger("relay").addHandler(listener)
    try:
        yield said
    finally:
        logging.getLogger("relay").removeHandler(listener)


# -- what arrives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (ENDLESS, LOOPED),
        (COMPARISON, LOOPED),
        (FLOOD, "writes more than 400,000 characters"),
        (RECURSION, "calls itself without an end"),
        # On a slow machine its time is over before the memory is.
        pytest.param(
            MEMORY, rf"takes more memory than a template may have|{LOOPED}", marks=linux_only
        ),
    ],
    ids=["loops", "compares", "floods", "calls itself", "eats memory"],
)
@pytest.mark.long
async def test_what_a_bad_template_should_have_said_goes_out_in_built_in_words(
    tmp_path: Path, bad: str, problem: str
) -> None:
    async with (
        SmtpServer() as mail,
        HttpServer() as room,
        a_relay(tmp_path, mail, room, bad) as relay,
    ):
        await relay.post(a_hook(1, missed=True))
        await relay.post(a_hook(2, offline=True))
        (one,) = await mail.received(1)
        (posted,) = await room.received(1)
    assert one.message["Subject"] == "Missed chat: Marta Nowak (template broken)"
    assert "Hello, is anybody there?" in one.part("plain")
    assert re.search(problem, " ".join(one.part("plain").split()))
    assert b"broken" not in posted.body


@pytest.mark.long
async def test_while_a_template_hangs_hooks_are_answered_and_others_arrive(tmp_path: Path) -> None:
    mailed_before: list[int] = []

    def note(_: HttpRequest) -> HttpAnswer:
        mailed_before.append(len(mail.mails))
        return HttpAnswer()

    async with (
        SmtpServer() as mail,
        HttpServer(usual=note) as room,
        a_relay(tmp_path, mail, room) as relay,
    ):
        for chat in range(1, 4):
            await relay.post(a_hook(chat, missed=True))
        for chat in range(11, 31):
            answer = await relay.post(a_hook(chat, offline=True))
            assert answer.status == 202
        await room.received(20)
        await mail.received(3)
    assert mailed_before[0] < 3  # those that hang take a second of computing each
    assert all(re.search(LOOPED, " ".join(one.part("plain").split())) for one in mail.mails)


@pytest.mark.long
async def test_templates_that_hang_again_and_again_leave_a_worker_for_the_others(
    tmp_path: Path,
) -> None:
    async with SmtpServer() as mail, HttpServer() as room, a_relay(tmp_path, mail, room) as relay:
        for chat in range(1, 4):
            await relay.post(a_hook(chat, missed=True))
            await relay.post(a_hook(10 + chat, dropped=True))
        known = len(await mail.received(2))
        for chat in range(5):
            await relay.post(a_hook(20 + chat, offline=True))
            await room.received(chat + 1)
        meanwhile = len(mail.mails) - known
        await mail.received(6)
    # Those that hang take a second of computing each, one after the other: some are left.
    assert meanwhile < 4


@pytest.mark.long
async def test_a_template_that_hangs_for_one_chat_does_its_work_for_the_next_ones(
    tmp_path: Path,
) -> None:
    picky = '{% if visitor.name == "Trouble" %}' + ENDLESS + "{% endif %}Fine."
    async with (
        SmtpServer() as mail,
        HttpServer() as room,
        a_relay(tmp_path, mail, room, picky) as relay,
    ):
        names = ["Anna", "Trouble", "Bert", "Cora"]
        await asyncio.gather(
            *(
                relay.post(a_hook(chat, missed=True, visitor={"name": name}))
                for chat, name in enumerate(names, 1)
            )
        )
        mails = await mail.received(4)
    subjects = sorted(one.message["Subject"] for one in mails)
    assert [subject for subject in subjects if "broken" in subject] == [
        "Missed chat: Trouble (template broken)"
    ]


async def test_what_a_killed_worker_was_at_is_rendered_once_more(tmp_path: Path) -> None:
    async with (
        SmtpServer() as mail,
        HttpServer() as room,
        a_relay(tmp_path, mail, room, "Fine.") as relay,
    ):
        await relay.post(a_hook(1, missed=True))
        await mail.received(1)
        _, *workers = await foreman_and_workers(os.getpid())
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        await relay.post(a_hook(2, missed=True))
        await relay.until("SELECT count(*) FROM attempts", (2,))
        await relay.ready()  # by now it is asked to render
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        _, second = await mail.received(2)
    assert "broken" not in second.message["Subject"]


async def test_what_was_killed_twice_goes_out_in_built_in_words_and_holds_up_nothing_else(
    tmp_path: Path,
) -> None:
    async with SmtpServer() as mail, HttpServer() as room, a_relay(tmp_path, mail, room) as relay:
        killing = asyncio.create_task(kill_each_worker())
        await relay.post(a_hook(1, missed=True))
        (one,) = await mail.received(1)
        killing.cancel()
        await asyncio.wait([killing])
        await relay.post(a_hook(2, offline=True))
        (posted,) = await room.received(1)
    assert "template broken" in one.message["Subject"]
    assert "its process was ended by signal 9 (Killed" in " ".join(one.part("plain").split())
    assert b"broken" not in posted.body


async def test_when_all_of_the_processes_are_killed_there_are_new_ones(tmp_path: Path) -> None:
    async with SmtpServer() as mail, HttpServer() as room, a_relay(tmp_path, mail, room) as relay:
        await relay.post(a_hook(1, offline=True))
        await room.received(1)
        killed = await asyncio.to_thread(processes_below, os.getpid())
        for process in killed:
            os.kill(process, signal.SIGKILL)
        await until_gone(killed)
        await relay.post(a_hook(2, offline=True))
        _, posted = await room.received(2)
    assert b"broken" not in posted.body


async def test_a_hundred_chats_at_once_are_each_told_in_their_own_words(tmp_path: Path) -> None:
    async with SmtpServer() as mail, HttpServer() as room, a_relay(tmp_path, mail, room) as relay:
        names = {f"Visitor {chat}" for chat in range(100)}
        await asyncio.gather(
            *(
                relay.post(a_hook(chat, offline=True, visitor={"name": name}))
                for chat, name in enumerate(names)
            )
        )
        posted = await room.received(100)
    found = [re.findall(rb"Visitor \d+", one.body) for one in posted]
    assert all(len(set(told)) == 1 for told in found)
    assert {told[0].decode() for told in found} == names


async def test_an_edited_template_is_used_soon_after(tmp_path: Path) -> None:
    async with (
        SmtpServer() as mail,
        HttpServer() as room,
        a_relay(tmp_path, mail, room) as relay,
    ):
        templates(tmp_path, offline="The old words.")
        await relay.post(a_hook(1, offline=True))
        assert b"The old words." in (await room.received(1))[0].body
        edited = tmp_path / "templates" / "offline" / "summary.txt"
        before = edited.stat()
        templates(tmp_path, offline="The new words.")
        # As `cp --preserve` and archives leave it: of the same size and time of modification.
        os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))
        chat = 1
        async with asyncio.timeout(DEADLINE):
            while b"The new words." not in room.requests[-1].body:
                chat += 1
                await relay.post(a_hook(chat, offline=True))
                await room.received(chat)


async def test_a_folder_that_is_put_in_the_old_ones_place_is_used_soon_after(
    tmp_path: Path,
) -> None:
    async with SmtpServer() as mail, HttpServer() as room, a_relay(tmp_path, mail, room) as relay:
        await relay.post(a_hook(1, offline=True))
        await room.received(1)
        templates(tmp_path / "next", offline="The next release.")
        (tmp_path / "templates").rename(tmp_path / "before")
        (tmp_path / "next" / "templates").rename(tmp_path / "templates")
        chat = 1
        async with asyncio.timeout(DEADLINE):
            while b"The next release." not in room.requests[-1].body:
                assert b"broken" not in room.requests[-1].body
                chat += 1
                await relay.post(a_hook(chat, offline=True))
                await room.received(chat)


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (Limits(computing=0.2, waiting=60), "it took more than 0.2 s of computing, and was ended"),
        (Limits(computing=60, waiting=0.2), "it took longer than 0.2 s, and was ended"),
    ],
    ids=["computing", "on the clock"],
)
async def test_each_limit_ends_a_template_and_the_next_one_is_rendered(
    tmp_path: Path, limits: Limits, problem: str
) -> None:
    pool = RenderPool((Path(templates(tmp_path, bad=ENDLESS)), shipped("templates")))
    with pytest.raises(RenderingEnded, match=problem):
        await pool.render(replace(an_asking(1), template="bad", limits=limits))
    rendered = await pool.render(an_asking(2))
    assert rendered.notification.visitor_name == "Visitor 2"
    await pool.close()


# -- checking ----------------------------------------------------------------------------------------------


async def test_a_broken_template_of_the_users_is_told_of_at_the_start(tmp_path: Path) -> None:
    async with SmtpServer() as mail, HttpServer() as room:
        with logged("bad/summary.txt:2: ") as told:
            async with a_relay(tmp_path, mail, room, "\n{{ vistor.name }}"):
                await asyncio.wait_for(told.wait(), DEADLINE)


@pytest.mark.long
def test_relay_check_ends_though_a_template_does_not(tmp_path: Path) -> None:
    variables = settings(tmp_path, rules=RULES, RELAY_TEMPLATES=templates(tmp_path, bad=ENDLESS))
    templates(tmp_path, worse="{{ vistor }}")
    checked = subprocess.run(
        [sys.executable, "-m", "relay", "check"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 1
    assert "template 'bad': it took more than 3 s of computing, and was ended" in checked.stderr
    assert "worse/summary.txt:1: there is nothing called 'vistor' here" in checked.stderr


# -- what the processes have, and what is left of them -------------------------------------------------------


async def test_nothing_is_left_behind_when_the_relay_stops(tmp_path: Path) -> None:
    async with SmtpServer() as mail, HttpServer() as room, a_relay(tmp_path, mail, room) as relay:
        await relay.post(a_hook(1, offline=True))
        await room.received(1)
        left = await foreman_and_workers(os.getpid())
    await until_gone(left)


async def test_processes_that_have_nothing_to_do_go_and_come_again(tmp_path: Path) -> None:
    pool = RenderPool((shipped("templates"),), idle=0.01)
    for number in range(3):
        rendered = await pool.render(an_asking(number))
        assert rendered.notification.visitor_name == f"Visitor {number}"
        await until_gone(await asyncio.to_thread(processes_below, os.getpid()))
    await pool.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.long
async def test_however_the_relay_ends_nothing_is_left_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with SmtpServer() as mail, HttpServer() as room:
        own = templates(tmp_path, bad=ENDLESS, worse=ENDLESS)
        variables = settings(
            tmp_path, rules=RULES, smtp=mail.port, http=room.port, RELAY_TEMPLATES=own
        )
        with relay_process(variables) as relay:
            await _post(relay.hook_url, a_hook(1, missed=True))
            await _post(relay.hook_url, a_hook(2, offline=True))
            await room.received(1)
            left = await foreman_and_workers(relay.process.pid)
            relay.process.send_signal(number)
            await asyncio.to_thread(relay.process.wait, DEADLINE)
            assert relay.process.stdout is not None
            relay.process.stdout.close()
        await until_gone(left)


COUNTED = """
import socket, sys
from collections import Counter
from pathlib import Path
from relay.rendering.isolation.worker import work
from relay.smartsupp import read_chat
from relay.rendering.templates import Templates

calls = Counter()

def count(frame, event, argument):
    if event == "call" and frame.f_code in (read_chat.__code__, Templates.draft.__code__):
        calls[frame.f_code.co_name] += 1

sys.setprofile(count)
work(socket.socket(fileno=0), (Path(sys.argv[1]),))
print(calls["read_chat"], calls["draft"])
"""


def test_a_chat_is_read_and_drafted_once_for_all_who_are_told_of_it_in_a_burst() -> None:
    command = [sys.executable, "-c", COUNTED, str(shipped("templates"))]
    ours, its = socket.socketpair()
    with subprocess.Popen(command, stdin=its.fileno(), stdout=subprocess.PIPE, text=True) as worker:
        its.close()
        with ours:
            frames = Frames()
            for ask in (a_post, an_asking, lambda number: replace(a_post(number), rule="Another")):
                for number in range(200):
                    ours.sendall(framed(ask(number)))
                    while not frames.feed(ours.recv(65536)):
                        pass
        said, _ = worker.communicate()
    assert said == "200 400\n"  # under another rule there are other words


async def test_a_worker_is_given_the_template_whose_chats_it_knows(tmp_path: Path) -> None:
    own = Path(templates(tmp_path, one="One.", two="Two."))
    one = replace(an_asking(1), template="one", body=a_hook(1, messages=LONG_MESSAGES))
    two = replace(an_asking(2), template="two")
    async with a_pool(own) as pool:
        first, second = await asyncio.gather(pool.render(one), pool.render(two))
        assert first.memory > second.memory  # which tells the workers apart
        for asked, before in ((one, first), (two, second), (one, first)):
            assert (await pool.render(asked)).memory == before.memory


async def test_large_chats_are_forgotten_before_they_fill_the_memory() -> None:
    used = []
    async with a_pool() as pool:
        for number in range(80):
            asked = replace(a_post(number), body=a_hook(number, messages=LONG_MESSAGES))
            used.append((await pool.render(asked)).memory)
    assert used[-1] - used[9] < 16 * 1024 * 1024  # all of them take 80 MiB


async def test_a_post_does_not_wait_for_the_mail_that_was_asked_for_before_it() -> None:
    rendered: list[str] = []

    async def render(asked: Render) -> None:
        await pool.render(asked)
        rendered.append(asked.transport)

    async with a_pool() as pool:
        await asyncio.gather(*(render(asked) for asked in (an_asking(1), a_post(1), an_asking(2))))
    assert rendered == ["slack", "email", "email"]


async def test_of_a_few_each_is_answered_as_soon_as_it_is_rendered(tmp_path: Path) -> None:
    own = Path(templates(tmp_path, bad="Bad."))
    (own / "bad" / "body.txt").write_text(ENDLESS, encoding="utf-8")
    limits = Limits(computing=0.5, waiting=60)
    post, mail = (
        framed(replace(ask(1), template="bad", limits=limits)) for ask in (a_post, an_asking)
    )
    foreman, frames = ForemanProcess((own, shipped("templates"))), Frames()
    answers: list[memoryview] = []
    with foreman.new_line() as line:
        line.sendall(post)  # the first takes its time: it compiles the template
        while data := await asyncio.to_thread(line.recv, 65536):
            if not answers:
                line.sendall(post + mail)
            answers += frames.feed(data)
    await foreman.end()
    kinds = [type(msgspec.msgpack.decode(answer, type=Answer)) for answer in answers]
    assert kinds == [Rendered, Rendered, Ended]


@linux_only
@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_a_foreman_is_gone_where_the_wait_for_its_end_is_cancelled(steps: int) -> None:
    foreman = ForemanProcess((shipped("templates"),))
    with foreman.new_line():
        process, *_ = await foreman_and_workers(os.getpid())
        os.kill(process, signal.SIGSTOP)  # it does not end by itself
        ending = foreman.end()
        for _ in range(steps):
            await asyncio.sleep(0)
        ending.cancel()
        await asyncio.wait([ending])
        is_left = await asyncio.to_thread(runs, process)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)
    assert not is_left


@linux_only
async def test_the_processes_do_not_interrupt_the_relay() -> None:
    async with a_pool() as pool:
        await pool.render(an_asking(1))
        processes = await foreman_and_workers(os.getpid())
        assert {os.sched_getscheduler(each) for each in processes} == {os.SCHED_BATCH}


@linux_only
async def test_the_processes_know_no_secret_and_hold_no_file_or_socket_of_the_relays(
    tmp_path: Path,
) -> None:
    async with SmtpServer(users={"relay": "pass-word-of-the-mail"}) as mail, HttpServer() as room:
        variables = settings(
            tmp_path,
            rules=RULES,
            smtp=mail.port,
            http=room.port,
            RELAY_TEMPLATES=templates(tmp_path, bad=ENDLESS, worse=ENDLESS),
            RELAY_SMTP_URL=f"smtp://relay:pass-word-of-the-mail@127.0.0.1:{mail.port}?insecure=yes",
        )
        with relay_process(variables) as relay:
            await _post(relay.hook_url, a_hook(1, offline=True))
            await room.received(1)
            processes = await foreman_and_workers(relay.process.pid)
            found = [Path(f"/proc/{process}") for process in processes]
            environments = [(one / "environ").read_bytes() for one in found]
            commands = [(one / "cmdline").read_bytes() for one in found]
            open_files = {str(file.readlink()) for one in found for file in (one / "fd").iterdir()}
            states = [(one / "status").read_text("ascii") for one in found]
            network = {
                line.split()[9]
                for table in ("tcp", "tcp6", "udp", "udp6")
                for line in Path(f"/proc/{relay.process.pid}/net/{table}").read_text().splitlines()
            }
    for known in environments + commands:
        assert not any(
            secret in known for secret in (TOKEN.encode(), b"pass-word", b"ROOM_WEBHOOK")
        )
        assert b"RELAY_" not in known
    assert not [file for file in open_files if "relay.db" in file]
    sockets = {file[8:-1] for file in open_files if file.startswith("socket:")}
    assert sockets
    assert not sockets & network
    assert all("Seccomp:\t2" in state for state in states)


CONFINED = """
import os, socket, sys
from pathlib import Path
from relay.rendering.isolation.confinement import confine

_, folder, written, secret = sys.argv
confine([Path(folder)])

def attempt(name, act):
    try:
        act()
        print(name, "done")
    except BaseException as error:
        print(name, type(error).__name__)

attempt("network", socket.socket)
attempt("program", lambda: os.execv("/bin/true", ["true"]))
attempt("memory", lambda: bytearray(1 << 30))
attempt("file", lambda: open(written, "w").write("x") and os.fsync(0))
attempt("files", lambda: [open(folder + "/subject.txt") for _ in range(100)])
attempt("reading a template", lambda: open(folder + "/subject.txt").read())
attempt("listing templates", lambda: os.listdir(folder))
attempt("a late import", lambda: __import__("babel.messages.pofile"))
attempt("line", socket.socketpair)
attempt("reading a secret", lambda: open(secret).read())
attempt("listing its folder", lambda: os.listdir(os.path.dirname(secret)))
attempt("the relay's environment", lambda: open(f"/proc/{os.getppid()}/environ", "rb").read())
attempt("the relay's memory", lambda: open(f"/proc/{os.getppid()}/mem", "rb").read(1))
attempt("deleting", lambda: os.unlink(secret))
attempt("renaming", lambda: os.rename(folder, folder + "2"))
attempt("a signal", lambda: os.kill(os.getppid(), 0))
"""


LANDLOCK = ctypes.CDLL(None).syscall(444, None, 0, 1) if sys.platform == "linux" else 0
"""The version of the kernel's interface; 0 and less where it has none."""
BEYOND = {
    "reading a secret": 1,
    "listing its folder": 1,
    "the relay's environment": 1,
    "the relay's memory": 1,
    "deleting": 1,
    "renaming": 1,
    "a signal": 6,
}
"""What Landlock keeps such a process from, and from which version on."""


@linux_only
def test_a_process_taken_over_reaches_neither_the_network_nor_programs_nor_the_disk(
    tmp_path: Path,
) -> None:
    folder, secret = tmp_path / "templates", tmp_path / "secret"
    folder.mkdir()
    (folder / "subject.txt").write_text("x")
    secret.write_text("the password")
    told = subprocess.run(
        [sys.executable, "-c", CONFINED, *map(str, (folder, folder / "written", secret))],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert told.stdout.splitlines() == [
        "network PermissionError",
        "program PermissionError",
        "memory MemoryError",
        "file PermissionError" if LANDLOCK else "file OSError",
        "files OSError",
        "reading a template done",
        "listing templates done",
        "a late import done",
        "line done",
        *(
            f"{what} PermissionError" if version <= LANDLOCK else f"{what} done"
            for what, version in BEYOND.items()
        ),
    ]
    if LANDLOCK:
        assert not (folder / "written").exists()
        assert secret.read_text() == "the password"


# -- the line to a worker ----------------------------------------------------------------------------------


@given(
    names=st.lists(st.text(max_size=300), max_size=8),
    cuts=st.lists(st.integers(0, 2_000), max_size=12),
)
def test_however_frames_are_cut_on_their_way_the_same_come_out(
    names: list[str], cuts: list[int]
) -> None:
    asked = [
        framed(Check(limits=Limits(computing=1, waiting=1), template=name, in_no_hurry=False))
        for name in names
    ]
    sent = b"".join(asked)
    frames, places = Frames(), sorted({min(cut, len(sent)) for cut in cuts} | {0, len(sent)})
    came = [frame for start, end in pairwise(places) for frame in frames.feed(sent[start:end])]
    assert came == [one[4:] for one in asked]


def test_a_frame_that_is_too_long_is_refused_before_it_comes() -> None:
    with pytest.raises(ValueError, match="33,554,433 bytes are announced"):
        Frames().feed((MAX_FRAME + 1).to_bytes(4))


@given(st.binary(max_size=400))
async def test_whatever_a_worker_that_was_taken_over_says_harms_nobody(said: bytes) -> None:
    line = WorkerLine()
    line.data_received(said)
    line.data_received(len(said).to_bytes(4) + said)
    line.connection_lost(None)
    assert line.is_gone


async def _post(url: str, body: bytes) -> None:
    """From a process's own: `RunningRelay` has a client."""
    host, port = url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    path = "/" + url.split("/", 3)[3]
    head = f"POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 202 "), answer
    writer.close()


async def test_a_template_s_own_json_goes_to_slack_and_a_broken_one_is_said_and_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "templates" / "offline" / "slack.json"
    own.parent.mkdir(parents=True)
    section = (
        '{"type": "section", "text": {"type": "mrkdwn", "text": "*{{ visitor.name }}* asks %s"}}'
    )
    own.write_text(f'{{"blocks": [{section % "us"}]}}', encoding="utf-8")
    async with (
        SmtpServer() as mail,
        HttpServer() as room,
        a_relay(tmp_path, mail, room) as relay,
    ):
        visitor = {"name": '<!channel>", "type": "x\\'}
        await relay.post(a_hook(1, offline=True, visitor=visitor))
        first = (await room.received(1))[0].json()
    text = '*&lt;!channel&gt;", "type": "x\\* asks us'
    assert [block["text"]["text"] for block in first["blocks"]] == [text]
    own.write_text(f'{{"blocks": [\n{section % "us"}, {{{{ chat.id }}}}]}}', encoding="utf-8")
    async with (
        SmtpServer() as mail,
        HttpServer() as room,
        a_relay(tmp_path, mail, room) as relay,
    ):
        await relay.post(a_hook(2, offline=True))
        second = (await room.received(1))[0].json()
    assert second["blocks"][0]["text"]["text"].endswith("Offline message from Marta Nowak")
    said = capfd.readouterr().err
    assert f"{own}: is not JSON: Expecting property name enclosed in double quotes: line 2" in said
    assert "; the relay's own layout is sent instead" in said


async def test_a_chat_without_a_time_is_shown_at_that_of_its_arrival() -> None:
    asked = msgspec.structs.replace(
        an_asking(1), body=a_hook(1, beginAt=None, endAt=None, messages=[]), arrived=NOON
    )
    pool = RenderPool((shipped("templates"),))
    try:
        rendered = await pool.render(asked)
    finally:
        await pool.close()
    assert "12:00" in rendered.notification.footer
