"""What clients keep here for their user: account data, and tags on rooms [cs "Client Config"], [cs "Room Tagging"]."""

from collections.abc import Callable
from typing import Any

from attrs import frozen

from homeserver.core.errors import MatrixError, invalid_param, not_found
from homeserver.core.ids import is_room_id
from homeserver.core.push.rules import Predefined
from storage.account_data import GLOBAL, AccountData, find_account_data, room_nid_of, set_account_data
from storage.committer import Committer, Kind, Touched
from storage.database import Connection, Database

TAG = "m.tag"
PUSH_RULES = "m.push_rules"
MANAGED = frozenset({"m.fully_read", PUSH_RULES})  # set through endpoints of their own
MAX_TAG_BYTES = 255  # [cs "Room Tagging"]
MAX_TYPE_BYTES = 255

Change = Callable[[dict[str, Any]], dict[str, Any]]


@frozen(kw_only=True)
class Place:
    """Where an entry stands: a user's, of a room or (None) global."""

    user_id: str
    user_nid: int
    room_id: str | None
    kind: str


@frozen
class AccountDataStore:
    """Reads and writes entries."""

    database: Database
    committer: Committer
    predefined: Predefined

    async def get(self, place: Place) -> dict[str, Any]:
        """An entry's content. Raises M_NOT_FOUND."""
        async with self.database.read() as conn:
            room_nid = await self._room_nid(conn, place)
            content = await find_account_data(conn, place.user_nid, room_nid, place.kind)
        if place.kind == PUSH_RULES and place.room_id is None:
            return self.predefined.with_kept(place.user_id, content).as_content()
        if content is None:
            raise not_found("There is no such account data")
        return content

    async def set(self, place: Place, content: dict[str, Any]) -> None:
        """What a client wants to be kept. Raises 405 for what the server manages [cs "Client Config"]."""
        if place.kind in MANAGED:
            raise MatrixError(405, "M_BAD_JSON", f"{place.kind} cannot be set through this endpoint")
        if len(place.kind.encode()) > MAX_TYPE_BYTES:
            raise invalid_param(f"The type is longer than {MAX_TYPE_BYTES} bytes")
        await self.change(place, lambda _: content)

    async def tags(self, place: Place) -> dict[str, Any]:
        """The tags of a room; none is no error."""
        async with self.database.read() as conn:
            room_nid = await self._room_nid(conn, place)
            content = await find_account_data(conn, place.user_nid, room_nid, TAG)
        return {"tags": _tags(content or {})}

    async def add_tag(self, place: Place, tag: str, value: dict[str, Any]) -> None:
        """Put a tag on a room, or change its order there."""
        if len(tag.encode()) > MAX_TAG_BYTES:
            raise invalid_param(f"A tag has at most {MAX_TAG_BYTES} bytes")
        await self.change(place, lambda old: {**old, "tags": {**_tags(old), tag: value}})

    async def remove_tag(self, place: Place, tag: str) -> None:
        """Take a tag off a room; it need not be there."""
        await self.change(
            place,
            lambda old: {**old, "tags": {name: value for name, value in _tags(old).items() if name != tag}},
        )

    async def change(self, place: Place, change: Change) -> None:
        """Make of an entry's content (empty where there is none) what `change` says."""
        async with self.database.read() as conn:
            room_nid = await self._room_nid(conn, place)

        async def job(conn: Connection, position: int) -> None:
            # The clock is held: nobody else, in no process, changes account data between these two statements.
            old = await find_account_data(conn, place.user_nid, room_nid, place.kind)
            entry = AccountData(room_nid, place.kind, change(old or {}))
            await set_account_data(conn, position, place.user_nid, entry)

        await self.committer.run(job, Touched(users=(place.user_nid,), kind=Kind.ACCOUNT_DATA))

    async def _room_nid(self, conn: Connection, place: Place) -> int:
        if place.room_id is None:
            return GLOBAL
        if not is_room_id(place.room_id):
            raise invalid_param("This is no room id")
        nid = await room_nid_of(conn, place.room_id)
        if nid is None:
            raise not_found("This server does not know the room")
        return nid


def _tags(content: dict[str, Any]) -> dict[str, Any]:
    """A client may have written anything into m.tag."""
    tags = content.get("tags")
    return tags if isinstance(tags, dict) else {}
