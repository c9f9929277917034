"""A simulated remote homeserver: its own name, key, TLS and rooms, in this process; every answer can be replaced.

room = await peer.room(V12, "public")                  # founded by @alice:peer
room.message(peer.alice)                               # in memory; nobody is told
peer.on("GET", "/_matrix/federation/v1/event/{eventId}", {"errcode": "M_NOT_FOUND"}, status=404)
answer = await peer.request("GET", homing, "/_matrix/federation/v1/version")
joined = await peer.join(homing, room_id, peer.alice)  # a room of ours; gives the peer's copy of it
await peer.say(homing, joined, peer.alice, "hello")
await peer.until(lambda: peer.pdus)                    # what came by /send, in the order of arrival
"""

import asyncio
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlencode

import aiohttp
import nacl.signing
import orjson
from aiohttp import web
from attrs import Factory, define, field
from signedjson.key import decode_verify_key_bytes, generate_signing_key
from signedjson.sign import sign_json
from signedjson.types import SigningKey
from unpaddedbase64 import decode_base64, encode_base64
from yarl import URL

from federation.protocol import x_matrix
from homeserver.core import canonical_json
from homeserver.core.event import Event
from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.services.now import now_ms
from tests.kit.loopback import Authority, free_name
from tests.kit.peer_calls import FEDERATION, Handler, Received, Refuse
from tests.kit.peer_rooms import PeerRooms
from tests.kit.remote_room import RemoteRoom, pdu_bytes
from tests.kit.server import Answer, segment

PATIENCE = 15.0
YEAR_MS = 365 * 24 * 3600 * 1000
_SHOWN = {
    f"m.room.{kind}" for kind in "create join_rules name avatar topic encryption canonical_alias".split()
}
_transactions = itertools.count(1)


@define(eq=False)
class Peer:
    """Start and stop it as often as wanted; it keeps its name, key and rooms."""

    authority: Authority
    name: str = field(factory=free_name)
    key: SigningKey = field(factory=lambda: generate_signing_key("peer"))
    rooms: dict[str, RemoteRoom] = field(factory=dict)
    calls: list[Received] = field(factory=list)
    pdus: list[dict[str, Any]] = field(factory=list)  # came by /send
    edus: list[dict[str, Any]] = field(factory=list)
    invites: list[dict[str, Any]] = field(factory=list)  # bodies of /invite, whatever its version
    profiles: dict[str, dict[str, Any]] = field(factory=dict)
    aliases: dict[str, str] = field(factory=dict)
    _handlers: list[tuple[str, re.Pattern[str], Handler]] = Factory(list)
    _keys: dict[tuple[str, str], Any] = Factory(dict)
    _news: asyncio.Condition = Factory(asyncio.Condition)
    _runner: web.AppRunner | None = None
    _http: aiohttp.ClientSession | None = None

    # Its life

    async def start(self) -> None:
        """Answer at its name."""
        if not self._handlers:
            self._answer_as_servers_do()
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        host, _, port = self.name.rpartition(":")
        context = self.authority.server_context(self.name)
        await web.TCPSite(self._runner, host, int(port), ssl_context=context, reuse_address=True).start()
        connector = aiohttp.TCPConnector(ssl=self.authority.client_context())
        timeout = aiohttp.ClientTimeout(total=PATIENCE * 4)
        self._http = aiohttp.ClientSession(connector=connector, timeout=timeout)

    async def stop(self) -> None:
        """Refuse connections from now on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._http is not None:
            await self._http.close()
            self._http = None

    # Its users and rooms

    @property
    def alice(self) -> str:
        return self.user("alice")

    def user(self, localpart: str) -> str:
        return f"@{localpart}:{self.name}"

    def found(self, version: RoomVersion, creator: str | None = None) -> RemoteRoom:
        """A public room of its own, with levels and an open door; nobody knows of it yet."""
        room = RemoteRoom.founded(version, self.name, self.key)
        room.public(creator or self.alice)
        return self.keep(room)

    def keep(self, room: RemoteRoom) -> RemoteRoom:
        """Answer for this room from now on, sign for our users in it."""
        room.keys.setdefault(self.name, self.key)
        self.rooms[room.room_id] = room
        return room

    # What it asks

    async def request(self, method: str, to: str, path: str, body: Any = None, **query: Any) -> Answer:
        """One signed request to the server called `to`, whatever comes of it. `path` is quoted already."""
        target = path + (f"?{urlencode(query, doseq=True)}" if query else "")
        content = body if isinstance(body, bytes) or body is None else canonical_json.encode_lenient(body)
        signed = x_matrix.SignedRequest(method, target, self.name, to, content)
        header = x_matrix.build(x_matrix.sign(signed, self.key))
        return await self.raw(method, to, target, content, {"Authorization": header})

    async def raw(
        self, method: str, to: str, target: str, content: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        """The same without a signature of its own."""
        assert self._http is not None, "not started"
        url = URL(f"https://{to}{target}", encoded=True)
        async with self._http.request(method, url, data=content, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())

    async def ask(self, method: str, to: str, path: str, body: Any = None, **query: Any) -> Any:
        """A request that must succeed; gives the JSON."""
        answer = await self.request(method, to, path, body, **query)
        assert answer.status == 200, f"{method} {path}: {answer.status} {answer.content!r}"
        return answer.json

    async def send(
        self,
        to: str,
        pdus: Iterable[Event | bytes] = (),
        edus: Sequence[Mapping[str, Any]] = (),
        transaction: str | None = None,
    ) -> dict[str, Any]:
        """A transaction; gives what it says of each PDU."""
        texts = [pdu if isinstance(pdu, bytes) else pdu_bytes(pdu) for pdu in pdus]
        # Spliced: some of the texts may be no JSON.
        body = b'{"edus":%b,"origin":%b,"origin_server_ts":%d,"pdus":[%b]}' % (
            canonical_json.encode_lenient(list(edus)),
            orjson.dumps(self.name),
            now_ms(),
            b",".join(texts),
        )
        path = f"{FEDERATION}/v1/send/{transaction or f't{next(_transactions)}'}"
        return (await self.ask("PUT", to, path, body))["pdus"]

    async def edu(self, to: str, kind: str, content: Mapping[str, Any]) -> None:
        """One EDU."""
        await self.send(to, edus=[{"edu_type": kind, "content": content}])

    async def say(self, to: str, room: RemoteRoom, user: str, text: str) -> Event:
        """A message, sent to the server called `to`, which must take it."""
        event = room.message(user, text)
        assert (await self.send(to, [event])).get(event.event_id, {}) == {}
        return event

    async def join(self, to: str, room_id: str, user: str, **content: Any) -> RemoteRoom:
        """Enter a room by way of the server called `to`: make_join, send_join."""
        path = f"{FEDERATION}/v1/make_join/{segment(room_id)}/{segment(user)}"
        made = await self.ask("GET", to, path, ver=list(ROOM_VERSIONS))
        version = ROOM_VERSIONS[made["room_version"]]
        room = RemoteRoom(version, room_id=room_id, keys={self.name: self.key})
        join = self.finish(room, made["event"], **content)
        path = f"{FEDERATION}/v2/send_join/{segment(room_id)}/{segment(join.event_id)}"
        said = await self.ask("PUT", to, path, dict(join.pdu))
        state = [room.finished(pdu) for pdu in said["state"]]
        room.enter(room.finished(said.get("event", join.pdu)), state, map(room.finished, said["auth_chain"]))
        return self.keep(room)

    async def leave(self, to: str, room: RemoteRoom, user: str) -> Event:
        """make_leave, send_leave: how an invite is declined, too."""
        return await self._change("leave", to, room, user)

    async def knock(self, to: str, room: RemoteRoom, user: str) -> Event:
        """make_knock, send_knock; the room may be an empty one that only has its id and version."""
        return await self._change("knock", to, room, user)

    async def invite(self, to: str, room: RemoteRoom, sender: str, user: str) -> Event:
        """Invite a user of the server called `to`; gives the event with its signature, in the room."""
        event = room.draft(sender, "m.room.member", {"membership": "invite"}, state_key=user)
        path = f"{FEDERATION}/v2/invite/{segment(room.room_id)}/{segment(event.event_id)}"
        said = await self.ask("PUT", to, path, self.invite_body(room, event))
        cosigned = room.finished(said["event"])
        assert cosigned.event_id == event.event_id
        return room.append(cosigned)

    def invite_body(self, room: RemoteRoom, event: Event) -> dict[str, Any]:
        """What /invite is asked with; since v12 the stripped state has whole events [MSC4311]."""
        return {
            "room_version": room.version.name,
            "event": dict(event.pdu),
            "invite_room_state": _introduction(room),
        }

    def finish(self, room: RemoteRoom, template: Mapping[str, Any], **content: Any) -> Event:
        """Make an event of what make_join and the like have given."""
        pdu = {**template, "content": {**template["content"], **content}, "origin_server_ts": now_ms()}
        if room.version.event_id_in_pdu:
            pdu["event_id"] = f"$made{next(_transactions)}:{self.name}"
        return room.finish_pdu(pdu)

    async def _change(self, membership: str, to: str, room: RemoteRoom, user: str) -> Event:
        path = f"{FEDERATION}/v1/make_{membership}/{segment(room.room_id)}/{segment(user)}"
        query = {"ver": list(ROOM_VERSIONS)} if membership == "knock" else {}
        made = await self.ask("GET", to, path, **query)
        event = self.finish(room, made["event"])
        api = "v2" if membership == "leave" else "v1"
        path = f"{FEDERATION}/{api}/send_{membership}/{segment(room.room_id)}/{segment(event.event_id)}"
        await self.ask("PUT", to, path, dict(event.pdu))
        room.receive(event)
        return event

    # What it answers

    def on(self, method: str, template: str, handler: Handler | Any, *, status: int = 200) -> None:
        """Answer so from now on. A handler gives JSON, (status, JSON), bytes or a response, or raises Refuse."""
        pattern = re.compile("".join(_pattern(part) for part in re.split(r"(\{\w+\})", template)) + r"\Z")

        async def constant(_: Received) -> Any:
            return status, handler

        self._handlers.insert(0, (method, pattern, handler if callable(handler) else constant))

    def seen(self, method: str, beginning: str) -> list[Received]:
        """The calls so far whose path begins so, below /_matrix/federation where it is no full one."""
        path = beginning if beginning.startswith("/_matrix") else f"{FEDERATION}{beginning}"
        return [call for call in self.calls if call.method == method and call.path.startswith(path)]

    async def until(self, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait until a request makes it true; gives its value."""
        async with asyncio.timeout(patience), self._news:
            return await self._news.wait_for(condition)

    async def heard(self, event_id: str, patience: float = PATIENCE) -> Event:
        """Wait for an event of a room that it is in."""

        def find() -> Event | None:
            return next(
                (room.events[event_id] for room in self.rooms.values() if event_id in room.events), None
            )

        return await self.until(find, patience)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        path = request.rel_url.raw_path
        for method, pattern, handler in self._handlers:
            match = pattern.match(path) if method == request.method else None
            if match is None:
                continue
            parameters = {name: unquote(value) for name, value in match.groupdict().items()}
            try:
                origin = "" if path.startswith("/_matrix/key") else await self._origin(request, body)
                parsed = orjson.loads(body) if body else None
                call = Received(request.method, unquote(path), request.query, origin, parsed, parameters)
                answer = _response(await handler(call))
            except Refuse as refusal:
                return _response((refusal.status, refusal.content))
            await self._note(call)
            return answer
        await self._note(Received(request.method, unquote(path), request.query, ""))
        return _response((404, {"errcode": "M_UNRECOGNIZED", "error": "the peer knows no such path"}))

    async def _note(self, call: Received) -> None:
        self.calls.append(call)
        async with self._news:
            self._news.notify_all()

    async def _origin(self, request: web.Request, body: bytes) -> str:
        """Who has signed the request; it must be signed, and meant for us."""
        header = x_matrix.parse(request.headers.get("Authorization", ""))
        if header.destination != self.name:
            raise Refuse(401, "M_UNAUTHORIZED", reason="not our name")
        key = await self._key(header.origin, header.key_id)
        signed = x_matrix.SignedRequest(
            request.method, request.raw_path, header.origin, self.name, body or None
        )
        if not x_matrix.signature_holds(signed, header.signature, key):
            raise Refuse(401, "M_UNAUTHORIZED", reason="bad signature")
        return header.origin

    async def _key(self, server: str, key_id: str) -> nacl.signing.VerifyKey:
        if (server, key_id) not in self._keys:
            answer = await self.raw("GET", server, "/_matrix/key/v2/server", None, {})
            for name, said in answer.json["verify_keys"].items():
                self._keys[server, name] = decode_verify_key_bytes(name, decode_base64(said["key"]))
        return self._keys[server, key_id]

    def _answer_as_servers_do(self) -> None:
        self.on("GET", "/_matrix/key/v2/server", self._server_keys)
        self.on("GET", f"{FEDERATION}/v1/version", {"server": {"name": "peer", "version": "1"}})
        self.on("PUT", f"{FEDERATION}/v1/send/{{txnId}}", self._transaction)
        self.on("GET", f"{FEDERATION}/v1/query/profile", self._profile)
        self.on("GET", f"{FEDERATION}/v1/query/directory", self._directory)
        rooms = PeerRooms(self.name, self.key, self.rooms, self.invites, _introduction)
        rooms.answer(self.on)

    async def _server_keys(self, call: Received) -> Any:
        public = encode_base64(self.key.verify_key.encode())
        said = {
            "server_name": self.name,
            "valid_until_ts": now_ms() + YEAR_MS,
            "verify_keys": {f"{self.key.alg}:{self.key.version}": {"key": public}},
            "old_verify_keys": {},
        }
        return sign_json(said, self.name, self.key)

    async def _transaction(self, call: Received) -> Any:
        """PDUs of rooms that it is in go into them as far as their previous events are there."""
        results = {}
        for pdu in call.body["pdus"]:
            self.pdus.append(pdu)
            room = self.rooms.get(pdu.get("room_id"))
            if room is not None:
                event = room.finished(pdu)
                results[event.event_id] = {} if room.receive(event) else {"error": "unknown previous events"}
        self.edus += call.body.get("edus", [])
        return {"pdus": results}

    async def _profile(self, call: Received) -> Any:
        profile = self.profiles.get(call.query["user_id"])
        if profile is None:
            raise Refuse(404, "M_NOT_FOUND")
        wanted = call.query.get("field")
        return {key: value for key, value in profile.items() if wanted in (None, key)}

    async def _directory(self, call: Received) -> Any:
        room_id = self.aliases.get(call.query["room_alias"])
        if room_id is None:
            raise Refuse(404, "M_NOT_FOUND")
        return {"room_id": room_id, "servers": [self.name]}


@asynccontextmanager
async def running_peer(authority: Authority, **options: Any) -> Any:
    """A peer that answers."""
    peer = Peer(authority, **options)
    await peer.start()
    try:
        yield peer
    finally:
        await peer.stop()


def _introduction(room: RemoteRoom) -> list[Any]:
    shown = [room.events[each] for key, each in room.current().items() if key[0] in _SHOWN]
    return [dict(each.pdu) for each in shown]


def _pattern(part: str) -> str:
    return f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part)


def _response(said: Any) -> web.StreamResponse:
    if isinstance(said, web.StreamResponse):
        return said
    status, content = said if isinstance(said, tuple) else (200, said)
    body = content if isinstance(content, bytes) else canonical_json.encode_lenient(content)
    return web.Response(status=status, body=body, content_type="application/json")
