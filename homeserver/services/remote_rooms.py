"""What rooms that we are not in are to our users: invitations, knocks, and how these ended.

Nothing is known of such a room but the member event, which only the inviting server could judge, and the stripped
state that came with it. Both are stored with a number of the clock, so that sync shows them. When the room is entered
later, its own events take over.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from attrs import frozen

from homeserver.core.event import Event
from homeserver.core.ids import domain_of, is_user_id
from homeserver.core.membership import BAN, INVITE, KNOCK, LEAVE
from homeserver.services.growth import stripped
from homeserver.services.judging import Arrival
from homeserver.services.push_evaluation import PushEvaluation
from homeserver.services.timeline import Writing
from storage import memberships, notifications, remote_rooms
from storage.committer import Kind, Touched
from storage.database import Connection
from storage.remote_rooms import MemberRow
from storage.room_batches import MEMBERSHIP_NAMES, MEMBERSHIPS, NoticeRow
from storage.rooms import Room

NOTHING = 0
NOT_JOINED = (NOTHING, *(MEMBERSHIPS[name] for name in (INVITE, KNOCK, LEAVE, BAN)))
PENDING = (MEMBERSHIPS[INVITE], MEMBERSHIPS[KNOCK])

StrippedState = Sequence[Mapping[str, Any]]


@frozen
class Prospect:
    """An invitation or a knock of one of our users, for a room that we may not be in.

    `servers`: those of whom the stripped state tells, whoever invited first; some may be in the room.
    """

    room: Room
    membership: str
    event: Event
    servers: tuple[str, ...]


@frozen
class RemoteRooms:
    """Memberships of our users in rooms that we do not follow."""

    writing: Writing
    push: PushEvaluation | None = None

    async def invited(self, invite: Arrival, state: StrippedState) -> bool:
        """One of ours may enter; False for who is in the room already."""
        return await self._set(invite, INVITE, NOT_JOINED, state)

    async def knocked(self, knock: Arrival, state: StrippedState) -> bool:
        """One of ours has asked to be let in."""
        return await self._set(knock, KNOCK, NOT_JOINED, state)

    async def ended(self, member: Arrival) -> bool:
        """The invitation was declined, the knock taken back, or either was refused by the room."""
        return await self._set(member, member.event.membership or LEAVE, PENDING, None)

    async def withdrawn(self, member: Arrival) -> bool:
        """Take an event of a room we are not in that ends an invitation or a knock; False: it does not.

        Nobody here can judge whether its sender had the right to. It must have known the pending event, and for an
        invitation come from the server that invited.
        """
        event = member.event
        if event.type != "m.room.member" or event.membership not in (LEAVE, BAN) or event.state_key is None:
            return False
        prospect = await self.prospect(event.room_id, event.state_key)
        if prospect is None or prospect.event.event_id not in event.auth_events:
            return False
        same_server = domain_of(event.sender) == domain_of(prospect.event.sender)
        if prospect.membership == INVITE and not same_server:
            return False
        return await self.ended(member)

    async def prospect(self, room_id: str, user_id: str) -> Prospect | None:
        """The pending invitation or knock of a user in any room."""
        user_nid = await self.writing.state_keys.user_nid(user_id)
        async with self.writing.database.read() as conn:
            room = await self.writing.reader.rooms.find(conn, room_id)
            known = await memberships.local_membership(conn, user_nid, room.nid) if room else None
            if room is None or known is None or known.membership not in PENDING:
                return None
            found = await self.writing.reader.by_nids(conn, [known.event_nid])
        if known.event_nid not in found:
            return None
        event = found[known.event_nid].event
        servers = _servers(event, known.stripped_state)
        return Prospect(room, MEMBERSHIP_NAMES[known.membership], event, servers)

    async def has_left(self, room_id: str, user_id: str) -> bool:
        """Has the user been in the room, or on the way in, and is not any more?"""
        user_nid = await self.writing.state_keys.user_nid(user_id)
        async with self.writing.database.read() as conn:
            room = await self.writing.reader.rooms.find(conn, room_id)
            known = await memberships.local_membership(conn, user_nid, room.nid) if room else None
        return known is not None and known.membership == MEMBERSHIPS[LEAVE]

    async def awaits(self, room_id: str, user_id: str) -> bool:
        """Is an invitation or a knock of the user pending in the room?"""
        return is_user_id(user_id) and await self.prospect(room_id, user_id) is not None

    async def known(self, room_id: str) -> Room | None:
        """The room, if we have heard of it."""
        async with self.writing.database.read() as conn:
            return await self.writing.reader.rooms.find(conn, room_id)

    async def entered(self, room_id: str) -> Room | None:
        """The room, if we have ever been in it: then its version is beyond doubt."""
        async with self.writing.database.read() as conn:
            room = await self.writing.reader.rooms.find(conn, room_id)
            return room if room is not None and await remote_rooms.has_head(conn, room.nid) else None

    async def is_resident(self, room_id: str) -> bool:
        """Do we follow the room: is one of ours in it?"""
        async with self.writing.database.read() as conn:
            room = await self.writing.reader.rooms.find(conn, room_id)
            return room is not None and await remote_rooms.is_resident(conn, room.nid)

    async def _set(
        self, member: Arrival, membership: str, before: Collection[int], state: StrippedState | None
    ) -> bool:
        row = await self._row(member, membership, state)
        notice: NoticeRow | None = None
        if self.push is not None and membership == INVITE:
            notice = await self.push.of_invite(member.event, row.user_nid)

        async def job(conn: Connection, position: int) -> tuple[int, bool]:
            room_nid, changed = await remote_rooms.set_membership(conn, row, position, before)
            if changed and notice is not None:
                await notifications.insert(conn, position, row.event_id, notice)
            return room_nid, changed

        touched = Touched(users=(row.user_nid,), kind=Kind.EVENTS)
        room_nid, changed = await self.writing.committer.run(job, touched)
        if await self.entered(row.room_id) is None:
            self.writing.reader.rooms.add(Room(room_nid, row.room_id, row.version))
        return changed

    async def _row(self, member: Arrival, membership: str, state: StrippedState | None) -> MemberRow:
        event = member.event
        assert event.state_key is not None
        nids = await self.writing.state_keys.user_nids([event.sender, event.state_key])
        return MemberRow(
            room_nid=await self.writing.numbers.room(),
            room_id=event.room_id,
            version=event.version,
            event_nid=(await self.writing.numbers.events(1)).start,
            event_id=event.event_id,
            sender_nid=nids[event.sender],
            user_nid=nids[event.state_key],
            membership=MEMBERSHIPS[membership],
            origin_server_ts=event.origin_server_ts,
            stripped_state=None if state is None else _text(event, state),
            json=member.json,
        )


def _servers(member: Event, stripped_state: str | None) -> tuple[str, ...]:
    senders = [member.sender, *(item["sender"] for item in orjson.loads(stripped_state or "[]"))]
    return tuple(dict.fromkeys(map(domain_of, senders)))


def _text(member: Event, state: StrippedState) -> str:
    """The stripped state as sync shows it; the member event stands last."""
    others = [item for item in state if (item.get("type"), item.get("state_key")) != member.key]
    return orjson.dumps([*others, stripped(member)]).decode()


def stripped_of_events(state: Sequence[Any]) -> list[dict[str, Any]]:
    """Those of the given items that are stripped state, or more, as stripped state [cs "Stripped state"]."""
    return [
        {
            "type": item["type"],
            "state_key": item["state_key"],
            "sender": item["sender"],
            "content": item["content"],
        }
        for item in state
        if isinstance(item, dict)
        and all(isinstance(item.get(name), str) for name in ("type", "state_key", "sender"))
        and isinstance(item.get("content"), dict)
    ]
