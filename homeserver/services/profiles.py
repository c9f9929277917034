"""What users say about themselves: any fields, of which rooms show the name and the avatar [cs "Profiles"]."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import frozen

from homeserver.core import canonical_json
from homeserver.core.errors import MatrixError, bad_json, invalid_param, missing_param, not_found
from homeserver.core.ids import domain_of, is_user_id
from homeserver.services.application_services.introducing import Introduce, nobody_comes
from storage import profile_changes, profiles
from storage.accounts import find_account
from storage.committer import Committer, Job, Kind, Touched
from storage.database import Connection
from storage.memberships import joined_rooms

DISPLAYNAME, AVATAR_URL, TIME_ZONE = "displayname", "avatar_url", "m.tz"
SHOWN_IN_ROOMS = (DISPLAYNAME, AVATAR_URL)
MAX_PROFILE = 65_536  # bytes of canonical JSON, exclusive
MAX_KEY = 255  # bytes
MAX_DISPLAYNAME = 256  # characters: it stands in an event of each room
MAX_AVATAR_URL = 1000
# The names of the specification, or namespaced ones [appendices "Common Namespaced Identifier Grammar"].
_KEY = re.compile(r"avatar_url|displayname|m\.tz|[a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)+")

# (user id) -> the profile on their server, or MatrixError.
AskServer = Callable[[str], Awaitable[Mapping[str, Any]]]
Changed = Callable[[str], Awaitable[None]]
Write = Callable[[Connection, int, int], Awaitable[bool]]  # (connection, user, position) -> was it allowed?


async def nobody_knows(user_id: str) -> Mapping[str, Any]:
    """Where there is no way to ask other servers."""
    raise not_found("There is no profile of this user")


async def nothing_follows(user_id: str) -> None:
    """Where there are no rooms."""


@frozen
class Profiles:
    """Reads and writes profiles; `changed` tells the rooms, `ask_server` the profiles of other servers' users."""

    committer: Committer
    server_name: str
    changed: Changed = nothing_follows
    ask_server: AskServer = nobody_knows
    introduce: Introduce = nobody_comes

    async def get(self, user_id: str) -> Mapping[str, Any]:
        """A whole profile. Raises M_NOT_FOUND where there is no such user."""
        if not is_user_id(user_id):
            raise invalid_param("This is no user id")
        if domain_of(user_id) != self.server_name:
            return await self.ask_server(user_id)
        found = await self._ours(user_id)
        if found is None:
            await self.introduce(user_id)
            found = await self._ours(user_id)
        if found is None:
            raise not_found("There is no profile of this user")
        return found

    async def _ours(self, user_id: str) -> Mapping[str, Any] | None:
        async with self.committer.database.read() as conn:
            account = await find_account(conn, (user_id,))
            return None if account is None else await profiles.fields_of(conn, account.user_nid)

    async def get_field(self, user_id: str, name: str) -> Any:
        """One field. Raises M_NOT_FOUND where it is not set."""
        check_key(name)
        profile = await self.get(user_id)
        if name not in profile:
            raise not_found("The profile has no such field")
        return profile[name]

    async def set_field(self, user_id: str, name: str, body: Mapping[str, Any]) -> None:
        """Set a field to what the body has under its name [cs "PUT /profile/{userId}/{keyName}"]."""
        check_key(name)
        if name not in body:
            raise missing_param(name)
        value = body[name]
        _check_value(name, value)

        async def write(conn: Connection, user_nid: int, position: int) -> bool:
            fields = {**await profiles.fields_of(conn, user_nid), name: value}
            if len(canonical_json.encode(fields)) >= MAX_PROFILE:
                return False
            await profiles.set_field(conn, user_nid, name, value)
            await profile_changes.note(conn, position, user_nid, name)
            return True

        if not await self._write(user_id, write):
            raise MatrixError(400, "M_PROFILE_TOO_LARGE", "The profile would exceed 64 KiB")
        await self._follow(user_id, name)

    async def delete_field(self, user_id: str, name: str) -> None:
        """Remove a field; it need not be there."""
        check_key(name)

        async def write(conn: Connection, user_nid: int, position: int) -> bool:
            if await profiles.delete_field(conn, user_nid, name):
                await profile_changes.note(conn, position, user_nid, name)
                await profile_changes.forget_oldest_gone(conn, user_nid)
            return True

        await self._write(user_id, write)
        await self._follow(user_id, name)

    async def _write(self, user_id: str, write: Write) -> bool:
        """Write with a position, and wake who sees the profile: everybody in the user's rooms, and their own devices.

        Who comes into a room of the user is told the profile as it is then. So that no change falls between, a write
        that finds its user in a room which it would not wake is made again.
        """
        while True:
            async with self.committer.database.read() as conn:
                account = await find_account(conn, (user_id,))
                rooms = [] if account is None else await joined_rooms(conn, account.user_nid)
            if account is None:
                raise not_found("There is no profile of this user")
            job = _unless_elsewhere(account.user_nid, frozenset(rooms), write)
            written = await self.committer.run(job, Touched((account.user_nid,), tuple(rooms), Kind.PROFILES))
            if written is not None:
                return written

    async def _follow(self, user_id: str, name: str) -> None:
        if name in SHOWN_IN_ROOMS:
            await self.changed(user_id)


def _unless_elsewhere(user_nid: int, rooms: frozenset[int], write: Write) -> Job[bool | None]:
    async def job(conn: Connection, position: int) -> bool | None:
        if not rooms.issuperset(await joined_rooms(conn, user_nid)):
            return None
        return await write(conn, user_nid, position)

    return job


def check_key(name: str) -> None:
    """Raise M_KEY_TOO_LARGE or M_INVALID_PARAM for what can be no field."""
    if len(name.encode()) > MAX_KEY:
        raise MatrixError(400, "M_KEY_TOO_LARGE", f"The name of a profile field has at most {MAX_KEY} bytes")
    if _KEY.fullmatch(name) is None:
        raise invalid_param("This is no name of a profile field")


def _check_value(name: str, value: Any) -> None:
    if name not in (DISPLAYNAME, AVATAR_URL, TIME_ZONE):
        return
    if not isinstance(value, str) or "\0" in value:
        raise bad_json(f"{name} must be a string")
    if name == DISPLAYNAME and len(value) > MAX_DISPLAYNAME:
        raise invalid_param(f"A display name has at most {MAX_DISPLAYNAME} characters")
    if name == AVATAR_URL and (len(value) > MAX_AVATAR_URL or (not value.startswith("mxc://") and value)):
        raise invalid_param(f"avatar_url must be an mxc: URI of at most {MAX_AVATAR_URL} characters")
