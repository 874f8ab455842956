"""Hashes the console's passwords with argon2id in a thread of its own, one at a time, as each takes 19 MiB and 30 ms."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from relay.services.users import LONGEST_PASSWORD as LONGEST


class Passwords:
    """Hashes and verifies passwords, with the lowest memory that OWASP recommends, as the relay needs little memory."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._thread = ThreadPoolExecutor(1, "console-password")
        self._dummy_hash = ""

    async def hash(self, password: str) -> str:
        """The hash of a password, as it is stored."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._hasher.hash, password
        )

    async def fits(self, stored: str, password: str) -> bool:
        """Whether the hash `stored` is of this password. False without a hash, after the same time."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._fits, stored, password
        )

    def close(self) -> None:
        """Finish the current verification and end the thread."""
        self._thread.shutdown()

    def _fits(self, stored: str, password: str) -> bool:
        if not self._dummy_hash:
            self._dummy_hash = self._hasher.hash(secrets.token_hex())
        try:
            fits = self._hasher.verify(stored or self._dummy_hash, password[:LONGEST])
        except (VerificationError, InvalidHashError):
            return False
        return fits and bool(stored) and len(password) <= LONGEST
