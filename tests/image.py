"""Builds the image of the Dockerfile and starts it as compose.yaml does. `make image-test` runs it, as root.

Debian's buildah builds it, with chroot isolation: it needs no daemon and no nested container. Where no registry of
images answers, debootstrap makes the base image from Debian's packages. The container is a chroot in namespaces of its
own, so its port 8000 disturbs nobody. Each line that is printed was checked; the first that does not hold ends it with
a status other than 0.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from relay import __version__
from tests.builders import a_hook
from tests.servers import SmtpServer, call, in_thread

ROOT = Path(__file__).parents[1]
IMAGE = "relay-image-test"
SUITE, PACKAGES = "trixie", "python3,python3-venv,python-is-python3,ca-certificates"
"""The Debian of the base image, and what makes it one of Python."""
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
ADVICE = "Install Debian's packages buildah and debootstrap, and run this as root; .ci/run does it."
TOKEN = "a-token-for-the-image-0123"
RULES = """\
destinations:
  desk: {email: {to: desk@example.com}}
rules:
  - name: Missed chats
    when: {missed: true}
    send_to: desk
    template: missed
"""
SHOWN = 3_000
"""Characters of what a program that fails has said."""
PATIENCE = 30.0
"""Seconds until a started relay is ready."""
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


class WrongImageError(Exception):
    """What does not hold."""


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def check(holds: object, words: str) -> None:
    """Prints what was checked. Raises WrongImageError where it does not hold."""
    if not holds:
        raise WrongImageError(words)
    say(f"ok: {words}")


# -- build ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Builder:
    """buildah with a store of its own, which is deleted with the scratch folder."""

    scratch: Path

    def __call__(self, *arguments: str) -> str:
        """What it printed. Raises WrongImageError with the end of what it said where it fails."""
        store = ["--root", f"{self.scratch}/store", "--runroot", f"{self.scratch}/run"]
        command = ["buildah", *store, "--storage-driver", "vfs", *arguments]
        return output_of(*command, BUILDAH_ISOLATION="chroot").strip()


def output_of(*command: str, **variables: str) -> str:
    """Raises WrongImageError with the end of what it said where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})
    if done.returncode:
        said = (done.stdout + done.stderr)[-SHOWN:]
        raise WrongImageError(
            f"{command[0]} ends with status 0, and not with {done.returncode}:\n{said}"
        )
    return done.stdout


def base_image() -> str:
    """The one image that all stages of the Dockerfile begin with."""
    name: str
    (name,) = set(
        re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    )
    return name


def get_base(builder: Builder) -> None:
    name = f"docker.io/library/{base_image()}"
    try:
        builder("pull", "--quiet", name)
    except WrongImageError:
        say(f"No registry gives {base_image()}: debootstrap makes it of Debian {SUITE}.")
    else:
        return
    tree = builder.scratch / "base"
    output_of("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(tree))
    container = builder("from", "scratch")
    builder("add", "--quiet", container, str(tree), "/")
    builder("commit", "--quiet", "--rm", container, name)
    shutil.rmtree(tree)


def pip_of_this_machine(scratch: Path) -> list[str]:
    """The pip in the build asks the index that pip asks here, and believes whom it believes."""
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    index = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    mounts, lines = [], ["[global]"]
    if Path(BUNDLE).is_file():
        mounts += ["--volume", f"{BUNDLE}:{BUNDLE}:ro"]
        lines.append(f"cert = {BUNDLE}")
    if index:
        lines.append(f"index-url = {index}")
    (scratch / "pip.conf").write_text("\n".join(lines), encoding="utf-8")
    return [*mounts, "--volume", f"{scratch}/pip.conf:/etc/pip.conf:ro"]


def build(builder: Builder) -> None:
    # The healthcheck is part of Docker's format only.
    form = ["--format", "docker", "--pull=never", "--quiet"]
    mounts = pip_of_this_machine(builder.scratch)
    builder("build", *form, *mounts, "--tag", IMAGE, str(ROOT))


# -- run -----------------------------------------------------------------------------------------------------


class Container:
    """The image's root, read-only, with a volume and a /tmp; no capability, no new privilege, as compose.yaml says.

    Only in a mount and network namespace of its own.
    """

    def __init__(self, root: Path, config: dict[str, Any], data: Path) -> None:
        self.root, self.config, self.data = root, config, data
        users = (root / "etc/passwd").read_text("utf-8").splitlines()
        fields = next(user.split(":") for user in users if user.startswith(f"{config['User']}:"))
        self.uid, self.gid = int(fields[2]), int(fields[3])
        mount(root, root, MS_BIND)
        mount(Path("/dev"), root / "dev", MS_BIND)
        mount(data, root / "data", MS_BIND)
        mount(Path("tmpfs"), root / "tmp", kind="tmpfs")
        mount(root, root, MS_BIND | MS_REMOUNT | MS_RDONLY)

    def command(self, *arguments: str, **variables: str) -> list[str]:
        """Runs the arguments in it as pid 1, with the image's environment."""
        environment = [
            *self.config["Env"],
            *(f"{name}={value}" for name, value in variables.items()),
        ]
        rights = ["--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        return [
            *("unshare", "--pid", "--fork", "--kill-child", "--"),
            *("sh", "-c", 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"', str(self.root)),
            *("setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", *rights),
            *("env", "-i", f"--chdir={self.config['WorkingDir']}", *environment, *arguments),
        ]

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        command = self.command(*arguments, **variables)
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    @contextlib.contextmanager
    def started(self, **variables: str) -> Iterator["Started"]:
        """What the image starts by itself, once it is ready; killed at the end if it still runs."""
        with subprocess.Popen(self.command(*self.config["Cmd"], **variables)) as process:
            try:
                started = Started(process)
                started.until_ready()
                yield started
            finally:
                process.kill()

    def healthy(self) -> bool:
        """Runs the image's healthcheck."""
        _, *test = self.config["Healthcheck"]["Test"]
        return self.run(*test).returncode == 0


@dataclass(frozen=True)
class Started:
    """The image's command at work."""

    process: "subprocess.Popen[bytes]"

    def until_ready(self) -> None:
        """Raises WrongImageError where it ends before, or takes too long."""
        deadline = time.monotonic() + PATIENCE
        while ask("/readyz")[0] != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise WrongImageError("the image's command takes hooks")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)

    def stop(self, patience: float) -> int:
        """SIGTERM to pid 1 of the container; returns its exit status."""
        (first,) = children(self.process.pid)
        os.kill(first, signal.SIGTERM)
        return self.process.wait(patience)


def children(parent: int) -> list[int]:
    """Ids of the processes that a process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            if f"\nPPid:\t{parent}\n" in status.read_text("utf-8"):
                found.append(int(status.parent.name))
    return found


def mount(source: Path, target: Path, flags: int = 0, *, kind: str = "") -> None:
    """Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def begin_loopback() -> None:
    """A network namespace begins with its loopback interface down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def ask(path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of the answer; 0 where nobody listens."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:8000{path}", body, timeout=PATIENCE
        ) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


# -- what is checked -----------------------------------------------------------------------------------------


def check_config(config: dict[str, Any]) -> None:
    check(
        config["User"] not in {"", "0", "root"}, f"the image's user is {config['User']}, not root"
    )
    check("/data" in config["Volumes"], "/data is a volume")
    check("8000/tcp" in config["ExposedPorts"], "port 8000 is exposed")
    check(config["Healthcheck"]["Test"][0] == "CMD", "it has a healthcheck that needs no shell")


def check_compose() -> float:
    """Returns how many seconds compose.yaml gives the relay to stop."""
    service = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["relay"]
    confined = service["read_only"], service["cap_drop"], service["tmpfs"], service["security_opt"]
    expected = True, ["ALL"], ["/tmp"], ["no-new-privileges:true"]  # noqa: S108 - the container's
    check(confined == expected, "compose.yaml confines it as it is confined here")
    return float(service["stop_grace_period"].removesuffix("s"))


def check_confined(container: Container) -> None:
    check(container.uid == 10001, "its uid is 10001")
    seen = container.run(
        "sh", "-c", "id -u; touch /x /app/x /etc/x; touch /data/x /tmp/x && echo written"
    )
    check(seen.stdout == "10001\nwritten\n", "it writes to /data and /tmp, and to nothing else")
    (container.data / "x").unlink()
    version = container.run("relay", "--version").stdout
    check(__version__ in version, f"relay --version says {__version__}")


def check_at_work(container: Container, grace: float) -> None:
    with in_thread(SmtpServer()) as mails:
        variables = {
            "RELAY_HOOK_TOKENS": TOKEN,
            "RELAY_SMTP_URL": f"smtp://127.0.0.1:{mails.port}",
            "RELAY_MAIL_FROM": "relay@example.com",
        }
        checked = container.run("relay", "check", **variables)
        check(checked.returncode == 0, "relay check in the container finds all fine")
        check(not container.healthy(), "the healthcheck fails while nothing runs")
        with container.started(**variables) as relay:
            check(container.healthy(), "relay serve starts, is ready and passes the healthcheck")
            answer = ask(f"/hooks/smartsupp/{TOKEN}", a_hook(missed=True))
            check(answer[0] == 202, "a hook is answered with 202")
            (mail,) = call(mails, mails.received(1))
            check("Marta Nowak" in str(mail.message["Subject"]), "its mail arrives")
            owner = (container.data / "relay.db").stat()
            check(owner.st_uid == 10001, "the database is in the volume, and is user 10001's")
            check(relay.stop(grace) == 0, f"SIGTERM ends it with status 0 within {grace:.0f} s")
        with container.started(**variables) as relay:
            again = ask(f"/hooks/smartsupp/{TOKEN}", a_hook(missed=True))
            check(again[0] == 200, "after a restart it knows the chat: the volume holds everything")
            check(relay.stop(grace) == 0, "it stops in order again")


def run_it(root: Path, config: dict[str, Any]) -> None:
    begin_loopback()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        (data / "rules.yaml").write_text(RULES, encoding="utf-8")
        fresh = (root / "data").stat()
        check(fresh.st_uid == 10001, "a new volume is user 10001's")
        os.chown(data, fresh.st_uid, fresh.st_gid)
        container = Container(root, config, data)
        grace = check_compose()
        check_confined(container)
        check_at_work(container, grace)


def main(arguments: list[str]) -> None:
    """Builds; then starts itself once more in new namespaces, with the image's root and configuration."""
    if arguments:
        run_it(Path(arguments[0]), json.loads(arguments[1]))
        return
    if os.geteuid() != 0 or not shutil.which("buildah") or not shutil.which("debootstrap"):
        raise WrongImageError(ADVICE)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="relay-image-") as scratch:
        builder = Builder(Path(scratch))
        get_base(builder)
        build(builder)
        check(builder("images", "--quiet", IMAGE), f"built in {time.monotonic() - begun:.0f} s")
        config = json.loads(builder("inspect", "--type", "image", IMAGE))["Docker"]["config"]
        check_config(config)
        container = builder("from", "--pull-never", IMAGE)
        root = builder("mount", container)
        try:
            apart = ["unshare", "--mount", "--net", "--propagation", "private", "--"]
            again = [sys.executable, "-m", "tests.image", root, json.dumps(config)]
            done = subprocess.run([*apart, *again], cwd=ROOT)
        finally:
            builder("umount", container)
    if done.returncode:
        sys.exit(done.returncode)
    say(f"The image builds and runs, in {time.monotonic() - begun:.0f} s.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except WrongImageError as wrong:
        sys.exit(f"not so: {wrong}")
