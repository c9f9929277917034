"""Asking resident servers for a place in a room.

[ss "Joining Rooms", "Inviting to a room", "Leaving Rooms (Rejecting Invites)", "Knocking upon a room"]
"""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from federation.client import shapes
from federation.client.paths import federation_path
from federation.client.shapes import JsonObject, Pdu
from federation.transport.requests import LONG, PeerRefused, PeerRequests

_ROOM = evolve(LONG, unparsed=frozenset({"state", "auth_chain"}))
# Of rooms whose server does not name one: the first whose events have such links. The create event tells in the end.
_LINKS_WITH_HASHES, _LINKS_ARE_IDS = "1", "3"


@frozen
class Template:
    """A membership event to be completed, hashed and signed by us."""

    room_version: str
    event: JsonObject


@frozen
class SendJoinAnswer:
    """The room as the resident server told it. `event` is the join with that server's signature, where needed."""

    state: list[Pdu] = field(repr=False)
    auth_chain: list[Pdu] = field(repr=False)
    event: JsonObject | None
    members_omitted: bool
    servers_in_room: list[str]


@frozen
class MembershipRequests:
    """make_…, send_…, invite and exchange_third_party_invite."""

    requests: PeerRequests

    async def make_join(
        self, destination: str, room_id: str, user_id: str, versions: Sequence[str]
    ) -> Template:
        """What the join has to look like. `versions` are the room versions that we speak."""
        path = federation_path("v1", "make_join", room_id, user_id)
        query = {"ver": list(versions)}
        # A user asks, here and below: a server that was down may be back before its back-off ends.
        return _template(destination, await self.requests.get(destination, path, query, even_if_down=True))

    async def send_join(
        self,
        destination: str,
        room_id: str,
        event_id: str,
        pdu: Mapping[str, Any],
        *,
        omit_members: bool = False,
    ) -> SendJoinAnswer:
        """Enter the room with the signed join."""
        query = {"omit_members": "true"} if omit_members else None
        path = federation_path("v2", "send_join", room_id, event_id)
        try:
            answer = await self.requests.put(destination, path, pdu, query, patience=_ROOM)
        except PeerRefused as refused:
            if not _is_unknown(refused):
                raise
            answer = await self._first_version(destination, ("send_join", room_id, event_id), pdu)
        event = answer.get("event")
        return SendJoinAnswer(
            shapes.pdus(destination, answer, "state"),
            shapes.pdus(destination, answer, "auth_chain"),
            event if isinstance(event, dict) else None,
            answer.get("members_omitted") is True,
            shapes.server_names(answer, "servers_in_room"),
        )

    async def make_leave(self, destination: str, room_id: str, user_id: str) -> Template:
        """What the leave has to look like, or the rejection of an invite."""
        path = federation_path("v1", "make_leave", room_id, user_id)
        return _template(destination, await self.requests.get(destination, path, even_if_down=True))

    async def send_leave(self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any]) -> None:
        """Leave with the signed event."""
        try:
            await self.requests.put(destination, federation_path("v2", "send_leave", room_id, event_id), pdu)
        except PeerRefused as refused:
            if not _is_unknown(refused):
                raise
            await self._first_version(destination, ("send_leave", room_id, event_id), pdu)

    async def make_knock(
        self, destination: str, room_id: str, user_id: str, versions: Sequence[str]
    ) -> Template:
        """What the knock has to look like."""
        path = federation_path("v1", "make_knock", room_id, user_id)
        query = {"ver": list(versions)}
        return _template(destination, await self.requests.get(destination, path, query, even_if_down=True))

    async def send_knock(
        self, destination: str, room_id: str, event_id: str, pdu: Mapping[str, Any]
    ) -> list[JsonObject]:
        """Knock with the signed event; gives the stripped state to show."""
        path = federation_path("v1", "send_knock", room_id, event_id)
        answer = await self.requests.put(destination, path, pdu)
        return shapes.objects(destination, answer, "knock_room_state")

    async def invite(
        self,
        destination: str,
        *,
        room_version: str,
        event_id: str,
        pdu: Mapping[str, Any],
        invite_room_state: Sequence[Mapping[str, Any]],
    ) -> JsonObject:
        """Ask the invited user's server to sign; gives the event with its signature."""
        room_id = str(pdu["room_id"])
        body = {
            "room_version": room_version,
            "event": dict(pdu),
            "invite_room_state": [dict(one) for one in invite_room_state],
        }
        path = federation_path("v2", "invite", room_id, event_id)
        try:
            answer = await self.requests.put(destination, path, body, even_if_down=True)
        except PeerRefused as refused:
            if not _is_unknown(refused):
                raise
            first = {**pdu, "unsigned": {"invite_room_state": body["invite_room_state"]}}
            answer = await self._first_version(destination, ("invite", room_id, event_id), first)
        return shapes.an_object(destination, answer, "event")

    async def exchange_third_party_invite(
        self, destination: str, room_id: str, event: Mapping[str, Any]
    ) -> None:
        """Ask a resident server to turn a third-party invite into an invite of a user of ours."""
        await self.requests.put(
            destination, federation_path("v1", "exchange_third_party_invite", room_id), event
        )

    async def _first_version(
        self, destination: str, segments: tuple[str, ...], pdu: Mapping[str, Any]
    ) -> JsonObject:
        """The deprecated endpoints, which answer with [200, {…}]."""
        path = federation_path("v1", *segments)
        return await self.requests.put_pair(destination, path, pdu, LONG)


def _template(destination: str, answer: Mapping[str, Any]) -> Template:
    event = shapes.an_object(destination, answer, "event")
    version = answer.get("room_version", _unnamed_version(event))
    if not isinstance(version, str):
        raise shapes.unreadable(destination, "room_version is not a string")
    return Template(version, event)


def _unnamed_version(event: JsonObject) -> str:
    """What to take a room for: 1 or 2 [ss "GET /make_join"], unless its events show that it is neither."""
    links = event.get("prev_events")
    ids = isinstance(links, list) and links and all(isinstance(link, str) for link in links)
    return _LINKS_ARE_IDS if ids else _LINKS_WITH_HASHES


def _is_unknown(refused: PeerRefused) -> bool:
    """Does the peer not know the endpoint [ss "Unsupported endpoints"]? A 404 with an errcode is about the room."""
    return refused.errcode == "M_UNRECOGNIZED" or (refused.status in (400, 404, 405) and not refused.errcode)
