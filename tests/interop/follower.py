"""A user's device that keeps up by long polls, and waits for what it should be told.

bob = await site.user("bob")
await bob.join(room_id, via=alice.server)
event = await bob.sees(room_id, event_id)
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from attrs import define, field

from tests.kit.server import Answer, Client, segment

PATIENCE = 30.0
_POLL_MS = 5000
_FILTER = orjson.dumps({"room": {"timeline": {"limit": 500}}}).decode()
_numbers = itertools.count(1)

StateKey = tuple[str, str]


@define
class RoomView:
    """What the device knows of a joined room: its timeline by event id, in the order in which it was told."""

    timeline: dict[str, dict[str, Any]] = field(factory=dict)
    state: dict[StateKey, dict[str, Any]] = field(factory=dict)
    typing: list[str] = field(factory=list)
    receipts: dict[StateKey, str] = field(factory=dict)  # (user, kind) -> event id

    def take(self, told: Any) -> None:
        for event in [*told.get("state", {}).get("events", []), *told["timeline"]["events"]]:
            if "state_key" in event:
                self.state[event["type"], event["state_key"]] = event
        for event in told["timeline"]["events"]:
            self.timeline[event["event_id"]] = event
        for event in told.get("ephemeral", {}).get("events", []):
            if event["type"] == "m.typing":
                self.typing = event["content"]["user_ids"]
            elif event["type"] == "m.receipt":
                self._take_receipts(event["content"])

    def _take_receipts(self, content: Any) -> None:
        for event_id, kinds in content.items():
            for kind, users in kinds.items():
                self.receipts.update({(user, kind): event_id for user in users})

    def content(self, kind: str, state_key: str = "") -> dict[str, Any]:
        event = self.state.get((kind, state_key))
        return event["content"] if event else {}

    def membership(self, user: str) -> str | None:
        return self.content("m.room.member", user).get("membership")


@define(eq=False)
class Follower:
    """One device. `rooms`, `invited`, `knocked` and `left` are the sections of its syncs, folded."""

    client: Client
    token: str | None = None
    rooms: dict[str, RoomView] = field(factory=dict)
    invited: dict[str, list[dict[str, Any]]] = field(factory=dict)
    knocked: dict[str, list[dict[str, Any]]] = field(factory=dict)
    left: dict[str, RoomView] = field(factory=dict)
    to_device: list[dict[str, Any]] = field(factory=list)
    presence: dict[str, dict[str, Any]] = field(factory=dict)
    devices_changed: set[str] = field(factory=set)

    @property
    def user_id(self) -> str:
        return self.client.user_id

    @property
    def server(self) -> str:
        return self.user_id.partition(":")[2]

    # Following

    async def sync(self, timeout_ms: int = _POLL_MS) -> None:
        """One sync, which waits for news."""
        given = 0 if self.token is None else timeout_ms
        said = await self.client.get("/v3/sync", since=self.token, timeout=given, filter=_FILTER)
        rooms = said.get("rooms", {})
        for room_id, told in rooms.get("join", {}).items():
            self._moved(room_id)
            self.rooms.setdefault(room_id, RoomView()).take(told)
        for room_id, told in rooms.get("invite", {}).items():
            self._moved(room_id)
            self.invited[room_id] = told["invite_state"]["events"]
        for room_id, told in rooms.get("knock", {}).items():
            self._moved(room_id)
            self.knocked[room_id] = told["knock_state"]["events"]
        for room_id, told in rooms.get("leave", {}).items():
            view = self.rooms.pop(room_id, None) or RoomView()
            self._moved(room_id)
            view.take({"timeline": {"events": []}, **told})
            self.left[room_id] = view
        self.to_device += said.get("to_device", {}).get("events", [])
        for event in said.get("presence", {}).get("events", []):
            self.presence[event["sender"]] = event["content"]
        self.devices_changed |= set(said.get("device_lists", {}).get("changed", []))
        self.token = said["next_batch"]

    def _moved(self, room_id: str) -> None:
        """A room is in one section at a time."""
        for section in (self.invited, self.knocked, self.left):
            section.pop(room_id, None)

    async def until(self, condition: Callable[[], Any], what: str = "", patience: float = PATIENCE) -> Any:
        """Sync until it is true; gives its value."""
        try:
            async with asyncio.timeout(patience):
                while not (value := condition()):
                    await self.sync()
                return value
        except TimeoutError:
            raise AssertionError(f"{self.user_id} waited in vain for {what or condition}") from None

    async def sees(self, room_id: str, event_id: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait for an event in a joined room's timeline."""

        def find() -> dict[str, Any] | None:
            view = self.rooms.get(room_id)
            return view.timeline.get(event_id) if view else None

        return await self.until(find, f"{event_id} in {room_id}", patience)

    async def sees_member(self, room_id: str, user: str, membership: str) -> None:
        """Wait until somebody's membership in a joined room is so."""
        await self.until(lambda: self.view(room_id).membership(user) == membership, f"{user} to {membership}")

    async def sees_state(self, room_id: str, kind: str, content: dict[str, Any], state_key: str = "") -> None:
        """Wait until an entry of a joined room's state is so."""
        await self.until(lambda: self.view(room_id).content(kind, state_key) == content, f"{kind} {content}")

    def view(self, room_id: str) -> RoomView:
        """A joined room; an empty one where it is none."""
        return self.rooms.get(room_id) or RoomView()

    # Doing

    async def create(self, **options: Any) -> str:
        """A room, public unless `options` say otherwise."""
        body = {"preset": "public_chat", **options}
        return (await self.client.post("/v3/createRoom", body))["room_id"]

    async def join(self, room: str, *, via: str | None = None) -> str:
        """Enter a room by id or alias."""
        path = f"/v3/join/{segment(room)}"
        return (await self.client.do("POST", path, {}, server_name=via, via=via))["room_id"]

    async def say(self, room_id: str, text: str = "hello") -> str:
        """A message; gives its id."""
        return await self.send(room_id, "m.room.message", {"msgtype": "m.text", "body": text})

    async def send(self, room_id: str, kind: str, content: dict[str, Any]) -> str:
        path = f"/v3/rooms/{segment(room_id)}/send/{kind}/t{next(_numbers)}"
        return (await self.client.put(path, content))["event_id"]

    async def set_state(self, room_id: str, kind: str, content: dict[str, Any], state_key: str = "") -> str:
        path = f"/v3/rooms/{segment(room_id)}/state/{kind}/{segment(state_key)}"
        return (await self.client.put(path, content))["event_id"]

    async def act(self, verb: str, room_id: str, user: str = "", **more: Any) -> Answer:
        """invite, kick, ban, unban, leave, forget; whatever comes of it."""
        body = {**({"user_id": user} if user else {}), **more}
        return await self.client.ask("POST", f"/v3/rooms/{segment(room_id)}/{verb}", body)

    async def do(self, verb: str, room_id: str, user: str = "", **more: Any) -> None:
        """The same, which must succeed."""
        answer = await self.act(verb, room_id, user, **more)
        assert answer.status == 200, f"{verb}: {answer.status} {answer.content!r}"

    # Reading

    async def state(self, room_id: str) -> dict[StateKey, str]:
        """The ids of the whole state."""
        events = await self.client.get(f"/v3/rooms/{segment(room_id)}/state")
        return {(event["type"], event["state_key"]): event["event_id"] for event in events}

    async def messages(self, room_id: str, kind: str = "m.room.message") -> dict[str, Any]:
        """The whole history that it may see, newest first: content by event id."""
        found: dict[str, Any] = {}
        since: str | None = None
        while True:
            path = f"/v3/rooms/{segment(room_id)}/messages"
            page = await self.client.get(path, dir="b", limit=100, **{"from": since})
            found |= {each["event_id"]: each["content"] for each in page["chunk"] if each["type"] == kind}
            since = page.get("end")
            if since is None:
                return found


async def agree(
    one: Follower, other: Follower, read: Callable[[Follower], Awaitable[Any]], patience: float = PATIENCE
) -> Any:
    """Sync both until they read the same; gives it."""
    mine = theirs = None
    try:
        async with asyncio.timeout(patience):
            while True:
                mine, theirs = await read(one), await read(other)
                if mine == theirs:
                    return mine
                await asyncio.gather(one.sync(1000), other.sync(1000))
    except TimeoutError:
        raise AssertionError(f"{one.user_id} reads {mine}, {other.user_id} reads {theirs}") from None


async def agree_on(one: Follower, other: Follower, room_id: str) -> None:
    """Both servers end in the same state, with the same messages."""
    await agree(one, other, lambda user: user.state(room_id))
    await agree(one, other, lambda user: user.messages(room_id))
