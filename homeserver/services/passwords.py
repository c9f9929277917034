"""Passwords: kept as Argon2id, compared off the event loop; bcrypt hashes of imported accounts are understood.

Hashing costs memory and time on purpose, so only a few run at once; who waits longer for a turn waits, and the rate
limits in front of this keep the queue short.
"""

import asyncio
import hmac
from collections.abc import Callable

import argon2
import bcrypt
from attrs import define, field, frozen

from homeserver.core.errors import MatrixError
from storage.accounts import Account, replace_password_hash
from storage.database import Database

MAX_LENGTH = 512  # bytes; longer ones would be a way to make us hash novels
_BCRYPT_LENGTH = 72  # bytes; what bcrypt looks at
_AT_ONCE = 2


@frozen
class PasswordSettings:
    """How passwords are kept; `pepper` belongs to imported bcrypt hashes."""

    memory_kib: int = 19_456
    passes: int = 2
    minimum_length: int = 8
    pepper: str = ""


@define(eq=False)
class PasswordHasher:
    """Makes and checks hashes, in threads."""

    settings: PasswordSettings
    _argon2: argon2.PasswordHasher = field(init=False)
    _turns: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(_AT_ONCE), init=False)
    _decoy: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._argon2 = argon2.PasswordHasher(
            time_cost=self.settings.passes, memory_cost=self.settings.memory_kib, parallelism=1
        )
        self._decoy = self._argon2.hash("nobody's password")

    async def hash(self, password: str) -> str:
        """The hash to keep of a password that may be set."""
        async with self._turns:
            return await asyncio.to_thread(self._argon2.hash, password)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Is it the password? Without a hash it never is, and that takes as long to say."""
        if len(password.encode()) > MAX_LENGTH:
            return False
        async with self._turns:
            right = await asyncio.to_thread(self._verify, password, password_hash or self._decoy)
        return right and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Should the password be hashed again, now that it is at hand?"""
        return _is_bcrypt(password_hash) or self._argon2.check_needs_rehash(password_hash)

    def check_strength(self, password: str) -> None:
        """Raise M_WEAK_PASSWORD if it must not be set [cs "POST /account/password"]."""
        if len(password) < self.settings.minimum_length:
            raise MatrixError(
                400,
                "M_WEAK_PASSWORD",
                f"The password must have at least {self.settings.minimum_length} characters",
            )
        if len(password.encode()) > MAX_LENGTH:
            raise MatrixError(400, "M_WEAK_PASSWORD", f"The password must be at most {MAX_LENGTH} bytes long")

    def _verify(self, password: str, password_hash: str) -> bool:
        if _is_bcrypt(password_hash):
            cut = (password + self.settings.pepper).encode()[:_BCRYPT_LENGTH]
            return hmac.compare_digest(bcrypt.hashpw(cut, password_hash.encode()), password_hash.encode())
        try:
            return self._argon2.verify(password_hash, password)
        except argon2.exceptions.VerifyMismatchError:
            return False


@frozen
class Attempts:
    """Counts attempts at an account's password: `count` raises M_LIMIT_EXCEEDED, `forgive` forgets them."""

    count: Callable[[str], None]
    forgive: Callable[[str], None]


@frozen
class PasswordCheck:
    """Whether somebody knows an account's password."""

    database: Database
    hasher: PasswordHasher
    attempts: Attempts

    async def knows(self, account: Account | None, password: str, *, tried: str) -> bool:
        """Check the password of `account`, which nobody has if it is None; `tried` is the user id as it was given."""
        self.attempts.count(tried)
        hashed = account.password_hash if account is not None else None
        if not await self.hasher.verify(password, hashed):
            return False
        self.attempts.forgive(tried)
        assert account is not None
        assert hashed is not None
        if self.hasher.is_outdated(hashed):
            better = await self.hasher.hash(password)
            async with self.database.writer() as conn:
                await replace_password_hash(conn, account.user_nid, hashed, better)
        return True


def _is_bcrypt(password_hash: str) -> bool:
    return password_hash.startswith(("$2a$", "$2b$", "$2y$"))
