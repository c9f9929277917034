"""The server speaks to its users, each in a room of their own [cs "Server Notices"]."""

import asyncio
from typing import Any

from attrs import define, field, frozen

from homeserver.core.errors import invalid_param, not_found
from homeserver.core.event_build import Draft
from homeserver.core.membership import INVITE, JOIN
from homeserver.core.room_founding import PRESETS, NewRoom
from homeserver.core.room_versions import RoomVersion
from homeserver.services.account_data import AccountDataStore, Place
from homeserver.services.growth import Once
from homeserver.services.member_content import Move
from homeserver.services.membership import Memberships
from homeserver.services.now import now_ms
from homeserver.services.registration import NewAccount, Registration
from homeserver.services.room_creation import RoomCreation
from storage.accounts import Account, find_account
from storage.memberships import local_membership
from storage.room_batches import MEMBERSHIPS
from storage.server_notices import notice_room_of, set_notice_room

TAG = "m.server_notice"
_THERE = (MEMBERSHIPS[JOIN], MEMBERSHIPS[INVITE])


@frozen
class Voice:
    """As whom the server speaks, and what its rooms are like."""

    localpart: str
    display_name: str
    room_name: str
    version: RoomVersion


@frozen
class Notice:
    """What is to be said, once for each `once`."""

    content: dict[str, Any]
    type: str = "m.room.message"
    state_key: str | None = None
    once: Once | None = None


@define(eq=False)
class ServerNotices:
    """Finds the room of a user, or makes it, and speaks there."""

    voice: Voice
    registration: Registration
    creation: RoomCreation
    account_data: AccountDataStore
    _turn: asyncio.Lock = field(factory=asyncio.Lock)  # two notices at once must not make two rooms

    async def send(self, user_id: str, notice: Notice) -> str:
        """Say something to a user of ours; gives the event's id. Raises M_NOT_FOUND, M_INVALID_PARAM."""
        async with self._turn:
            target = await self._account(user_id)
            speaker = await self._speaker()
            if target is None or target.deactivated:
                raise not_found("There is no such user on this server")
            if target.user_id == speaker:
                raise invalid_param("The server does not talk to itself")
            room_id = await self._room(target, speaker)
        draft = Draft(notice.type, speaker, notice.content, now_ms(), room_id, notice.state_key)
        if notice.state_key is None:
            return (await self.creation.timeline.send(draft, once=notice.once)).event.event_id
        made = await self.creation.timeline.change(room_id, [], lambda head: [draft])
        return made[0].event.event_id

    async def _speaker(self) -> str:
        """The account that speaks, made when it first does. Nobody can log in to it: it has no password."""
        user_id = f"@{self.voice.localpart}:{self.registration.server_name}"
        if await self._account(user_id) is None:
            new = NewAccount(localpart=self.voice.localpart, display_name=self.voice.display_name)
            await self.registration.register(new)
        return user_id

    async def _account(self, user_id: str) -> Account | None:
        async with self.registration.database.read() as conn:
            return await find_account(conn, [user_id])

    async def _room(self, target: Account, speaker: str) -> str:
        memberships: Memberships = self.creation.memberships
        async with self.registration.database.read() as conn:
            room_id = await notice_room_of(conn, target.user_id)
            room = (
                await self.creation.timeline.writing.reader.rooms.find(conn, room_id)
                if room_id is not None
                else None
            )
            known = await local_membership(conn, target.user_nid, room.nid) if room is not None else None
        if room_id is None or room is None:
            return await self._new_room(target, speaker)
        if known is None or known.membership not in _THERE:
            move = Move(room_id=room_id, sender=speaker, target=target.user_id, membership=INVITE)
            await memberships.make(move, lambda before: before not in (JOIN, INVITE))
        return room_id

    async def _new_room(self, target: Account, speaker: str) -> str:
        room = NewRoom(
            version=self.voice.version,
            creator=speaker,
            preset=PRESETS["private_chat"],
            name=self.voice.room_name,
            invite=[target.user_id],
        )
        room_id = await self.creation.create(room)
        async with self.registration.database.writer() as conn:
            await set_notice_room(conn, target.user_nid, room_id)
        place = Place(user_id=target.user_id, user_nid=target.user_nid, room_id=room_id, kind="m.tag")
        await self.account_data.add_tag(place, TAG, {})
        return room_id
