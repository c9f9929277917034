"""Who may use a folder: an exclusive lock that ends with its holder, however that ends."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import field, frozen


class Held(Exception):
    """Another process holds the lock."""


@frozen
class FileLock:
    """A held lock. A child that inherits `fd` holds it too, until the last of them is gone."""

    path: Path
    fd: int = field(repr=False)

    @classmethod
    def take(cls, path: Path) -> Self:
        """The lock, at once, or `Held`."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            os.close(fd)
            raise Held(str(path)) from cause
        return cls(path=path, fd=fd)

    def release(self) -> None:
        """Stop holding it; once only."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
