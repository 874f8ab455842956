"""What a process that runs templates may never do, whatever a template makes of it. Each layer only where the system has it."""

import contextlib
import ctypes
import platform
import resource
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from relay.rendering.isolation.file_access import confine_reach, readable

MEMORY = 512 * 1024 * 1024
"""Bytes of address space. What is shared with other processes counts too."""
OPEN_FILES = 64


def confine(folders: Iterable[Path]) -> None:
    """For good: this process and those it forks, which read templates from these folders. None has run yet."""
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
