"""Takes up files of our users [cs "Content repository"]."""

from collections.abc import AsyncIterable
from secrets import token_urlsafe

from attrs import frozen

from homeserver.core.errors import MatrixError, forbidden, limit_exceeded, not_found, too_large
from homeserver.services.media.files import Draft, TooMuch
from homeserver.services.media.library import Announced
from homeserver.services.media.shelf import Shelf
from homeserver.services.now import Clock, now_ms
from storage import media
from storage.database import Connection
from storage.media import OURS, Label, MediaName, Medium


@frozen(kw_only=True)
class MediaLimits:
    """0 means no limit for what one user may keep."""

    upload_bytes: int
    user_bytes: int = 0
    user_files: int = 0
    pending: int = 20  # announced ids of one user
    pending_ms: int = 24 * 3_600_000
    authenticated: bool = True  # what comes now can be had with a token only


@frozen
class Uploads:
    """Media ids are ours to choose: nobody can guess them."""

    shelf: Shelf
    announced: Announced
    limits: MediaLimits
    clock: Clock = now_ms

    async def upload(self, owner_nid: int, chunks: AsyncIterable[bytes], label: Label) -> str:
        """Keep a file; gives its media id."""
        await self._require_room(owner_nid)
        try:
            async with self.shelf.files.drafted(chunks, most=self.limits.upload_bytes) as draft:
                return await self.add(draft, label, owner_nid=owner_nid)
        except TooMuch as cause:
            raise self._too_large() from cause

    async def add(
        self, draft: Draft, label: Label, *, owner_nid: int | None = None, expires_ts: int | None = None
    ) -> str:
        """Keep a file that is here already, under a new id."""
        medium = Medium(
            name=MediaName(OURS, _new_id()),
            content=draft.content,
            label=label,
            owner_nid=owner_nid,
            created_ts=self.clock(),
            expires_ts=expires_ts,
            authenticated=self.limits.authenticated,
        )

        async def record(conn: Connection) -> None:
            await self._require_quota(conn, owner_nid, draft.content.size)
            await media.insert(conn, medium)

        await self.shelf.keep(draft, record)
        return medium.name.media_id

    async def announce(self, owner_nid: int) -> tuple[str, int]:
        """An id for a file that comes later, and when it expires."""
        now = self.clock()
        expires = now + self.limits.pending_ms
        medium = Medium(
            name=MediaName(OURS, _new_id()),
            content=None,
            label=Label("application/octet-stream"),
            owner_nid=owner_nid,
            created_ts=now,
            expires_ts=expires,
        )
        async with self.shelf.database.transaction() as conn:
            await media.lock_owner(conn, owner_nid)
            waiting, first_expires = await media.pending(conn, owner_nid, now)
            if waiting >= self.limits.pending:
                raise limit_exceeded(max(1000, first_expires - now))
            await media.insert(conn, medium)
        return medium.name.media_id, expires

    async def fill(self, media_id: str, owner_nid: int, chunks: AsyncIterable[bytes], label: Label) -> None:
        """The file of an id that was announced."""
        await self._require_announced(media_id, owner_nid)
        await self._require_room(owner_nid)
        try:
            async with self.shelf.files.drafted(chunks, most=self.limits.upload_bytes) as draft:
                await self.shelf.keep(draft, lambda conn: self._fill(conn, media_id, draft, label, owner_nid))
        except TooMuch as cause:
            raise self._too_large() from cause
        self.announced.came(media_id)

    async def _fill(
        self, conn: Connection, media_id: str, draft: Draft, label: Label, owner_nid: int
    ) -> None:
        await self._require_quota(conn, owner_nid, draft.content.size)
        authenticated = self.limits.authenticated
        if not await media.fill(conn, media_id, draft.content, label, authenticated=authenticated):
            raise _taken()

    async def _require_announced(self, media_id: str, owner_nid: int) -> None:
        async with self.shelf.database.read() as conn:
            found = await media.find(conn, MediaName(OURS, media_id))
        if found is None or (found.content is None and (found.expires_ts or 0) <= self.clock()):
            raise not_found("This media id was not created, or has expired")
        if found.owner_nid != owner_nid:
            raise forbidden("This media id was created by somebody else")
        if found.content is not None:
            raise _taken()

    async def _require_room(self, owner_nid: int) -> None:
        """Before anything is read: has the user anything left?"""
        if self.limits.user_bytes or self.limits.user_files:
            async with self.shelf.database.read() as conn:
                self._check(*await media.usage(conn, owner_nid), 1)

    async def _require_quota(self, conn: Connection, owner_nid: int | None, size: int) -> None:
        if owner_nid is not None and (self.limits.user_bytes or self.limits.user_files):
            await media.lock_owner(conn, owner_nid)
            self._check(*await media.usage(conn, owner_nid), size)

    def _check(self, files: int, size: int, more: int) -> None:
        limits = self.limits
        if (limits.user_files and files >= limits.user_files) or (
            limits.user_bytes and size + more > limits.user_bytes
        ):
            raise forbidden("You have uploaded as much as this server lets one user keep")

    def _too_large(self) -> MatrixError:
        return too_large(f"The file exceeds {self.limits.upload_bytes} bytes")


def _new_id() -> str:
    return token_urlsafe(24)


def _taken() -> MatrixError:
    return MatrixError(409, "M_CANNOT_OVERWRITE_MEDIA", "This media id has its file already")
