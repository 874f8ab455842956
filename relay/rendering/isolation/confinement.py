"""Confines the processes that run templates: which files they may read, and which system calls they may make.

Without this, a template could read the relay's database, secrets or environment and write them into
a notification. Uses Landlock, seccomp and resource limits, each where the system has it; see
docs.kernel.org/userspace-api/landlock.html.
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
"""The numbers of the Landlock system calls, equal on all architectures."""
_ASK_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_ALL_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
"""The number of file access rights by Landlock version; 16 from version 5 on."""
_NETWORK = 0b11
"""The rights to bind and connect TCP sockets, known from Landlock version 4 on."""
_SCOPES = 0b11
"""The rights to use other processes' abstract Unix sockets and to signal them, known from Landlock version 6 on."""
_SYSTEM = ("/usr", "/lib", "/lib64")
"""Folders of libraries and time zones, which hold no data of the relay or its users."""


def readable(folders: Iterable[Path]) -> Iterator[Path]:
    """Yield the paths that rendering reads: these folders, Python, its packages and the relay's code."""
    yield from folders
    yield from map(Path, (*_SYSTEM, *zoneinfo.TZPATH, f"{sys.base_prefix}/lib"))
    package = Path(__file__).parents[2]
    yield package
    libraries = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    # In a checkout, the folder around the package may also hold a database and settings.
    private = {package.parent} - libraries
    yield from libraries
    yield from {Path(entry) for entry in sys.path if entry} - private


def confine_reach(readable: Iterable[Path]) -> None:
    """Confine this process for good: it can read only below these paths and can't write at all.

    It can't inspect other processes or, with a recent kernel, send them signals. Does nothing if
    the kernel lacks Landlock. Needs PR_SET_NO_NEW_PRIVS.
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
            with contextlib.suppress(OSError):  # the path does not exist
                _allow(call, ruleset, path)
        call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _ruleset(version: int) -> bytes:
    """Return the kernel's struct `landlock_ruleset_attr`, in the length that this version accepts."""
    files = (1 << _ALL_BITS.get(version, 16)) - 1
    fields = (files, *((_NETWORK,) if version >= 4 else ()), *((_SCOPES,) if version >= 6 else ()))
    return struct.pack(f"={len(fields)}Q", *fields)


def _allow(call: "ctypes._NamedFuncPointer", ruleset: int, path: Path) -> None:
    """Add the right to read below a path to a Landlock ruleset. Raises OSError."""
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        access = _READ_FILE | (_READ_DIR if path.is_dir() else 0)
        call(_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, place), 0)
    finally:
        os.close(place)


MEMORY = 512 * 1024 * 1024
"""The most bytes of a worker's address space, including memory shared with other processes."""
OPEN_FILES = 64


def confine(folders: Iterable[Path]) -> None:
    """Confine this process and its children for good; they may read templates from these folders.

    Call it before any template runs.
    """
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)  # it writes no files
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _refuse_system_calls()
    confine_reach(readable(folders))


def _limit(which: int, most: int) -> None:
    # macOS has RLIMIT_AS but refuses to set it; a lower existing limit can't be raised.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(which, (most, most))


def limit_work(computing: float, waiting: float) -> None:
    """Let the kernel end this process after `computing` seconds of processor time or `waiting` seconds of real time; 0: no limit.

    The limit works even if Python code never yields.
    """
    signal.setitimer(signal.ITIMER_PROF, computing)
    signal.setitimer(signal.ITIMER_REAL, waiting)


def most_memory() -> int:
    """Return the most bytes of memory that this process ever used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT_OF_MEMORY


_UNIT_OF_MEMORY = 1 if sys.platform == "darwin" else 1024


# -- system calls that rendering never needs -------------------------------------------------------------------

_REFUSED = {
    # From linux/audit.h: the architecture, then the numbers of socket, connect, execve, execveat,
    # ptrace, process_vm_readv, process_vm_writev, io_uring_setup, unshare, bpf, pidfd_getfd.
    "x86_64": (0xC000003E, (41, 42, 59, 322, 101, 310, 311, 425, 272, 321, 438)),
    "aarch64": (0xC00000B7, (198, 203, 221, 281, 117, 270, 271, 425, 97, 280, 438)),
}
_X32 = 0x40000000
"""The flag of x86_64 kernels for a second set of numbers for the same calls."""
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | 1  # EPERM
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _refuse_system_calls() -> None:
    """Install a seccomp filter (Linux): no network, no other programs, no access to other processes' memory."""
    if not sys.platform.startswith("linux") or platform.machine() not in _REFUSED:
        return
    machine, numbers = _REFUSED[platform.machine()]
    steps = _filter(machine, numbers)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.addressof(code))
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Fails if the kernel was built without seccomp; the other layers still apply.
    prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


def _filter(machine: int, numbers: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """Return a classic BPF program as tuples: operation, jump if true, jump if false, and operand."""
    count = len(numbers)
    return [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_JUMP_IF_EQUAL, 1, 0, machine),
        (_RETURN, 0, 0, _KILL),  # calls of another architecture, such as 32 bits
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        (_JUMP_IF_AT_LEAST, count + 1, 0, _X32),
        *((_JUMP_IF_EQUAL, count - place, 0, number) for place, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
