"""The foreman: `python -m relay.rendering.isolation.foreman FOLDER...`, with its line to the relay as standard input.

Each message on that line brings the end of a new line, and the foreman forks a worker for it. When the relay is gone,
however it went, the foreman ends its workers and itself.
"""

import gc
import os
import select
import signal
import socket
import sys
from pathlib import Path

from relay.rendering.isolation.confinement import confine
from relay.rendering.isolation.protocol import Ended, framed
from relay.rendering.isolation.worker import work

COULD_NOT_FORK = 71
"""EX_OSERR of sysexits.h, as if a worker had ended so."""


class Foreman:
    """Forks, and tells how each worker ended."""

    def __init__(self, relay: socket.socket, folders: tuple[Path, ...]) -> None:
        self._relay = relay
        self._folders = folders
        self._lines: dict[int, socket.socket] = {}
        """The workers' ends, by their process ids. Kept to say the last word on them."""
        self._ended, self._wake = socket.socketpair()
        self._wake.setblocking(False)  # noqa: FBT003 - socket's own signature
        # A worker's end interrupts the select below.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno())

    def run(self) -> None:
        """Until the relay is gone."""
        while True:
            ready, _, _ = select.select([self._relay, self._ended], [], [])
            if self._ended in ready:
                self._ended.recv(4096)
                self._tell_of_the_ended()
            if self._relay in ready:
                message, lines, _, _ = socket.recv_fds(self._relay, 1, 1)
                if not message:
                    break
                for line in lines:
                    self._fork(socket.socket(fileno=line))
        for worker in self._lines:
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)

    def _fork(self, line: socket.socket) -> None:
        try:
            worker = os.fork()
        except OSError:
            _last_word(line, COULD_NOT_FORK)
            return
        if worker:
            self._lines[worker] = line
        else:
            self._become_worker(line)

    def _become_worker(self, line: socket.socket) -> None:
        """Never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self._relay, self._ended, self._wake, *self._lines.values()):
                other.close()
            work(line, self._folders)
            code = 0
        finally:
            os._exit(code)

    def _tell_of_the_ended(self) -> None:
        while self._lines:
            worker, status = os.waitpid(-1, os.WNOHANG)
            if not worker:
                return
            _last_word(self._lines.pop(worker), os.waitstatus_to_exitcode(status))


def _last_word(line: socket.socket, code: int) -> None:
    with line:
        line.setblocking(False)  # noqa: FBT003 - socket's own signature
        try:
            line.send(framed(Ended(code=code)))
        except OSError:
            return  # nobody listens: the relay had done with it


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the relay's to heed
    sys.dont_write_bytecode = True  # nothing that runs beside templates writes files
    folders = tuple(map(Path, sys.argv[1:]))
    confine(folders)
    # What is here by now is shared by all workers: counting references must not copy more of it than need be.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, *gc.get_threshold()[1:])  # Python's own 700 are made by each rendering
    Foreman(socket.socket(fileno=0), folders).run()


if __name__ == "__main__":
    main()
