"""What a simulated server answers about the rooms that it is in."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import frozen
from signedjson.types import SigningKey

from homeserver.core.event import Event
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.services.now import now_ms
from tests.kit.peer_calls import FEDERATION, Handler, Received, Refuse
from tests.kit.remote_room import RemoteRoom


@frozen
class PeerRooms:
    """Answers for the server called `name`. `introduction` makes what a stranger is told of a room."""

    name: str
    key: SigningKey
    rooms: Mapping[str, RemoteRoom]
    invites: list[dict[str, Any]]  # bodies of /invite, whatever its version
    introduction: Callable[[RemoteRoom], list[Any]]

    def answer(self, on: Callable[[str, str, Handler], None]) -> None:
        """Have all questions put to the handlers here."""
        room = "{roomId}"
        for membership in ("join", "leave", "knock"):
            on("GET", f"{FEDERATION}/v1/make_{membership}/{room}/{{userId}}", self._maker(membership))
        on("PUT", f"{FEDERATION}/v2/send_join/{room}/{{eventId}}", self.send_join)
        on("PUT", f"{FEDERATION}/v2/send_leave/{room}/{{eventId}}", self.send_leave)
        on("PUT", f"{FEDERATION}/v1/send_knock/{room}/{{eventId}}", self.send_knock)
        on("PUT", f"{FEDERATION}/v2/invite/{room}/{{eventId}}", self.invite)
        on("GET", f"{FEDERATION}/v1/event/{{eventId}}", self.event)
        on("GET", f"{FEDERATION}/v1/state/{room}", self.state)
        on("GET", f"{FEDERATION}/v1/state_ids/{room}", self.state_ids)
        on("GET", f"{FEDERATION}/v1/event_auth/{room}/{{eventId}}", self.event_auth)
        on("GET", f"{FEDERATION}/v1/backfill/{room}", self.backfill)
        on("POST", f"{FEDERATION}/v1/get_missing_events/{room}", self.missing_events)

    def _maker(self, membership: str) -> Handler:
        async def make(call: Received) -> Any:
            room, user = self._room(call), call.parameters["userId"]
            versions = call.query.getall("ver", ["1"])
            if membership != "leave" and room.version.name not in versions:
                raise Refuse(400, "M_INCOMPATIBLE_ROOM_VERSION", room_version=room.version.name)
            event = room.template(user, "m.room.member", {"membership": membership}, user)
            return {"room_version": room.version.name, "event": event}

        return make

    async def send_join(self, call: Received) -> Any:
        room = self._room(call)
        event = self._taken(room, call.body)
        before = room.state_before(event.event_id)
        chain = room.auth_chain([event.event_id, *(each.event_id for each in before)])
        return {
            "origin": self.name,
            "members_omitted": False,
            "state": _pdus(before),
            "auth_chain": _pdus(chain),
            "event": dict(event.pdu),
        }

    async def send_leave(self, call: Received) -> Any:
        self._taken(self._room(call), call.body)
        return {}

    async def send_knock(self, call: Received) -> Any:
        room = self._room(call)
        self._taken(room, call.body)
        return {"knock_room_state": self.introduction(room)}

    async def invite(self, call: Received) -> Any:
        body = call.body
        self.invites.append(body)
        signer = RemoteRoom(ROOM_VERSIONS[body["room_version"]], keys={self.name: self.key})
        return {"event": signer.cosigned(body["event"], [self.name])}

    async def event(self, call: Received) -> Any:
        wanted = call.parameters["eventId"]
        for room in self.rooms.values():
            if wanted in room.events:
                return {"origin": self.name, "pdus": _pdus([room.events[wanted]])}
        raise Refuse(404, "M_NOT_FOUND")

    async def state(self, call: Received) -> Any:
        room, before = self._state(call)
        chain = room.auth_chain(each.event_id for each in before)
        return {"pdus": _pdus(before), "auth_chain": _pdus(chain)}

    async def state_ids(self, call: Received) -> Any:
        room, before = self._state(call)
        chain = room.auth_chain(each.event_id for each in before)
        return {"pdu_ids": _ids(before), "auth_chain_ids": _ids(chain)}

    async def event_auth(self, call: Received) -> Any:
        return {"auth_chain": _pdus(self._room(call).auth_chain([call.parameters["eventId"]]))}

    async def backfill(self, call: Received) -> Any:
        events = self._room(call).before(call.query.getall("v"), limit=int(call.query["limit"]))
        return {"origin": self.name, "origin_server_ts": now_ms(), "pdus": _pdus(events)}

    async def missing_events(self, call: Received) -> Any:
        asked, limit = call.body, call.body.get("limit", 10)
        events = self._room(call).between(asked["earliest_events"], asked["latest_events"], limit=limit)
        return {"events": _pdus(events)}

    def _room(self, call: Received) -> RemoteRoom:
        room = self.rooms.get(call.parameters["roomId"])
        if room is None:
            raise Refuse(404, "M_NOT_FOUND")
        return room

    def _state(self, call: Received) -> tuple[RemoteRoom, list[Event]]:
        room, event_id = self._room(call), call.query["event_id"]
        if event_id not in room.record.state_before:
            raise Refuse(404, "M_NOT_FOUND")
        return room, room.state_before(event_id)

    def _taken(self, room: RemoteRoom, pdu: Mapping[str, Any]) -> Event:
        authorizer = pdu["content"].get("join_authorised_via_users_server", "")
        ours = [self.name] if authorizer.endswith(f":{self.name}") else []
        event = room.finished(room.cosigned(dict(pdu), ours))
        if not room.receive(event):
            raise Refuse(400, "M_UNKNOWN", reason="unknown previous events")
        return event


def _pdus(events: Iterable[Event]) -> list[dict[str, Any]]:
    return [dict(event.pdu) for event in events]


def _ids(events: Iterable[Event]) -> list[str]:
    return [event.event_id for event in events]
