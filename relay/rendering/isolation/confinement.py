"""Which files a process that runs templates may read, whatever a template makes of it: Landlock, on Linux.

Without it such a process could read the relay's database, files with secrets, and by /proc the relay's environment,
and write what it read into a notification. docs.kernel.org/userspace-api/landlock.html has the calls.


What a process that runs templates may never do, whatever a template makes of it. Each layer only where the system has it.
"""

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
import sys
import sysconfig
import zoneinfo
from collections.abc import Iterable, Iterator
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""The numbers of these system calls, which are equal on all machines."""
_ASK_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_ALL_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
"""By version of the kernel's interface: how many kinds of access to files there are; from 5 on 16."""
_NETWORK = 0b11
"""TCP: to bind and to connect. Known from version 4 on."""
_SCOPES = 0b11
"""Sockets without a file, and signals, to processes that are not confined as this one. From version 6 on."""
_SYSTEM = ("/usr", "/lib", "/lib64")
"""Libraries and time zones; nothing of the relay's or its users' is kept there."""


def readable(folders: Iterable[Path]) -> Iterator[Path]:
    """What rendering reads: these folders, Python, the packages and the relay itself."""
    yield from folders
    yield from map(Path, (*_SYSTEM, *zoneinfo.TZPATH, f"{sys.base_prefix}/lib"))
    package = Path(__file__).parents[2]
    yield package
    libraries = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    # In a copy of the source the folder around the package may hold a database and settings, too.
    private = {package.parent} - libraries
    yield from libraries
    yield from {Path(entry) for entry in sys.path if entry} - private


def confine_reach(readable: Iterable[Path]) -> None:
    """Confine this process for good: nothing but what lies below these paths can be opened, and nothing can be written.

    Nor can other processes be looked into, and where the kernel knows how, no signals sent to them. Does nothing
    where the kernel lacks it: the other layers hold. Needs PR_SET_NO_NEW_PRIVS.
    """
    if not sys.platform.startswith("linux"):
        return
    call = ctypes.CDLL(None, use_errno=True).syscall
    version = call(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)
    if version < 1:
        return
    rules = _ruleset(version)
    ruleset = call(_CREATE, rules, ctypes.c_size_t(len(rules)), 0)
    if ruleset < 0:
        return
    try:
        for path in readable:
            with contextlib.suppress(OSError):  # not there
                _allow(call, ruleset, path)
        call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _ruleset(version: int) -> bytes:
    """The kernel's `landlock_ruleset_attr`, as long as this version knows it."""
    files = (1 << _ALL_BITS.get(version, 16)) - 1
    fields = (files, *((_NETWORK,) if version >= 4 else ()), *((_SCOPES,) if version >= 6 else ()))
    return struct.pack(f"={len(fields)}Q", *fields)


def _allow(call: "ctypes._NamedFuncPointer", ruleset: int, path: Path) -> None:
    """Raises OSError."""
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        access = _READ_FILE | (_READ_DIR if path.is_dir() else 0)
        call(_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, place), 0)
    finally:
        os.close(place)


MEMORY = 512 * 1024 * 1024
"""Bytes of address space. What is shared with other processes counts too."""
OPEN_FILES = 64


def confine(folders: Iterable[Path]) -> None:
    """Confine this process for good, and those it forks, which read templates from these folders.

    No template has run yet.
    """
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)  # writes no files
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _refuse_system_calls()
    confine_reach(readable(folders))


def _limit(which: int, most: int) -> None:
    # macOS knows RLIMIT_AS but refuses to set it; a limit that is lower already may not be raised.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(which, (most, most))


def limit_work(computing: float, waiting: float) -> None:
    """The kernel ends the process after so many seconds: no Python has to get a word in. 0 takes a limit away."""
    signal.setitimer(signal.ITIMER_PROF, computing)
    signal.setitimer(signal.ITIMER_REAL, waiting)


def most_memory() -> int:
    """The most bytes that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT_OF_MEMORY


_UNIT_OF_MEMORY = 1 if sys.platform == "darwin" else 1024


# -- system calls that rendering never needs -----------------------------------------------------------------

_REFUSED = {
    # of linux/audit.h: (the machine's number, then numbers of socket, connect, execve, execveat, ptrace,
    # process_vm_readv, process_vm_writev, io_uring_setup, unshare, bpf, pidfd_getfd)
    "x86_64": (0xC000003E, (41, 42, 59, 322, 101, 310, 311, 425, 272, 321, 438)),
    "aarch64": (0xC00000B7, (198, 203, 221, 281, 117, 270, 271, 425, 97, 280, 438)),
}
_X32 = 0x40000000
"""The x86_64 kernel takes the same calls by these numbers too."""
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | 1  # EPERM
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _refuse_system_calls() -> None:
    """No network, no other programs, no look into other processes' memory: a seccomp filter, on Linux."""
    if not sys.platform.startswith("linux") or platform.machine() not in _REFUSED:
        return
    machine, numbers = _REFUSED[platform.machine()]
    steps = _filter(machine, numbers)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.addressof(code))
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Refused where a kernel was built without it: the other layers hold.
    prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


def _filter(machine: int, numbers: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Steps of classic BPF: what to do, how many steps to jump if so and if not, and a number."""
    count = len(numbers)
    return [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_JUMP_IF_EQUAL, 1, 0, machine),
        (_RETURN, 0, 0, _KILL),  # calls of another machine, such as 32 bits
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        (_JUMP_IF_AT_LEAST, count + 1, 0, _X32),
        *((_JUMP_IF_EQUAL, count - place, 0, number) for place, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
