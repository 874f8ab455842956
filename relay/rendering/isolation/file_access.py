"""Which files a process that runs templates may read, whatever a template makes of it: Landlock, on Linux.

Without it such a process could read the relay's database, files with secrets, and by /proc the relay's environment,
and write what it read into a notification. docs.kernel.org/userspace-api/landlock.html has the calls.
"""

import contextlib
import ctypes
import os
import struct
import sys
import sysconfig
import zoneinfo
from collections.abc import Iterable, Iterator
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""The same on all machines."""
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
    """For good: from now on nothing but what lies below these paths can be opened, and nothing can be written.

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
