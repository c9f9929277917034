"""A hostile server on Twisted, a program of its own. Told by lines of JSON what to do; says in lines what came of it.

Runs as `python -m tests.adversary.program NAME CERTIFICATE KEY AUTHORITIES`. A line is {"id", "do", …arguments}; the
answer {"id", "result"} or {"id", "failed"}.
"""

import io
import json
import sys
import traceback
from pathlib import Path
from urllib.parse import quote

from canonicaljson import encode_canonical_json
from signedjson.key import generate_signing_key, get_verify_key
from signedjson.sign import sign_json
from twisted.internet import endpoints, reactor, ssl, task
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver
from twisted.web._newclient import RequestTransmissionFailed
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    FileBodyProducer,
    HTTPConnectionPool,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from unpaddedbase64 import encode_base64

from tests.adversary import forge

FEDERATION = "/_matrix/federation"


class Adversary:
    """Its key, what it knows of rooms, and what it does."""

    def __init__(self, name, authorities):
        self.name = name
        self.key = generate_signing_key("evil")
        self.other_key = generate_signing_key("none")  # which nobody can find
        self.rooms = {}  # room id -> {"state": {(type, key): id}, "last": id, "depth": n, "events": {id: event}}
        self.scripts = []  # (method, beginning of the path, mode, argument)
        self.asked = []
        policy = BrowserLikePolicyForHTTPS(ssl.trustRootFromCertificates(authorities))
        self.agent = Agent(reactor, policy, connectTimeout=10, pool=HTTPConnectionPool(reactor))
        self.number = 0

    # Requests

    async def request(self, method, to, path, body=None, raw=None, header=None, destination=None, origin=None,
                      key="own"):  # fmt: skip
        """A request, signed as wanted; `raw` is a body that is no canonical JSON."""
        content = raw.encode("utf-8", "surrogatepass") if raw is not None else None
        if body is not None:
            content = encode_canonical_json(body)
        if header is None:
            header = self.header(method, path, content, destination or to, origin or self.name, key)
        headers = Headers({"Content-Type": ["application/json"]})
        if header:
            headers.addRawHeader("Authorization", header)
        producer = None if content is None else _producer(content)
        response = await self.agent.request(
            method.encode(), f"https://{to}{path}".encode(), headers, producer
        )
        said = await _body(response)
        try:
            parsed = json.loads(said)
        except ValueError:
            parsed = None
        return {"status": response.code, "json": parsed}

    def header(self, method, path, content, destination, origin, key):
        signing = self.key if key == "own" else self.other_key
        text = {"method": method, "uri": path, "origin": origin, "destination": destination}
        message = encode_canonical_json(text)
        if content is not None:  # whatever it is: the bytes are signed, in the place of their name
            message = b'{"content":' + content + b"," + message[1:]
        signature = encode_base64(signing.sign(message).signature)
        key_id = f"{self.key.alg}:{self.key.version}"
        return f'X-Matrix origin="{origin}",destination="{destination}",key="{key_id}",sig="{signature}"'

    async def send(self, to, pdus=(), edus=(), origin=None, **more):
        """A transaction; PDUs may be anything."""
        self.number += 1
        body = {"origin": origin or self.name, "origin_server_ts": forge.now(), "pdus": pdus, "edus": edus}
        path = f"{FEDERATION}/v1/send/evil{self.number}"
        if more.pop("as_text", False):
            return await self.request("PUT", to, path, raw=json.dumps(body), **more)
        return await self.request("PUT", to, path, body=body, **more)

    async def send_giant(self, to, size):
        """The status of the answer; None where the connection broke while all of it was being sent."""
        edu = {"edu_type": "evil", "content": {"x": "x" * size}}
        try:
            return (await self.send(to, edus=[edu]))["status"]
        except (ResponseNeverReceived, ResponseFailed, RequestTransmissionFailed):
            return None

    async def join(self, to, room_id, user):
        """Enter a room, as everybody does."""
        path = f"{FEDERATION}/v1/make_join/{quote(room_id)}/{quote(user)}?ver=11"
        made = await self.request("GET", to, path)
        if made["status"] != 200:
            return made
        event = {**made["json"]["event"], "origin_server_ts": forge.now()}
        event = forge.signed(forge.hashed(event), self.name, self.key)
        event_id = forge.event_id(event)
        path = f"{FEDERATION}/v2/send_join/{quote(room_id, safe='')}/{quote(event_id, safe='')}"
        said = await self.request("PUT", to, path, body=event)
        if said["status"] == 200:
            state = {
                (each["type"], each["state_key"]): forge.event_id(each) for each in said["json"]["state"]
            }
            state["m.room.member", user] = event_id
            events = {
                forge.event_id(each): each for each in said["json"]["state"] + said["json"]["auth_chain"]
            }
            room = {"state": state, "last": event_id, "depth": event["depth"], "events": events}
            self.rooms[room_id] = room
            events[event_id] = event
        return {
            "status": said["status"],
            "event_id": event_id,
            "errcode": (said["json"] or {}).get("errcode"),
        }

    async def make(self, room_id, kind, sender, content, state_key=None, change=None, after_hash=None,
                   sign_as=None, key="own", prev=None, auth=None):  # fmt: skip
        """An event behind the last one that it knows. `change` is hashed and signed, `after_hash` is not hashed."""
        room = self.rooms[room_id]
        event = {
            "type": kind,
            "sender": sender,
            "room_id": room_id,
            "content": content,
            "origin_server_ts": forge.now(),
            "depth": room["depth"] + 1,
            "prev_events": prev if prev is not None else [room["last"]],
            "auth_events": auth
            if auth is not None
            else forge.auth_of(room["state"], sender, kind, state_key, content),
        }
        if state_key is not None:
            event["state_key"] = state_key
        event = {**forge.hashed({**event, **(change or {})}), **(after_hash or {})}
        event = forge.signed(event, sign_as or self.name, self.key if key == "own" else self.other_key)
        event_id = forge.event_id(event)
        room["events"][event_id] = event
        return {"event_id": event_id, "pdu": event}

    async def follow(self, room_id, event_id, as_state=False):
        """Take an event of its own for the room's last one from now on."""
        room = self.rooms[room_id]
        event = room["events"][event_id]
        room["last"], room["depth"] = event_id, event["depth"]
        if as_state:
            room["state"][event["type"], event["state_key"]] = event_id
        return True

    # Answers

    async def serve(self, method, path, mode, argument=None):
        """Answer paths that begin so from now on: json, endless, drip, silent, chain, event."""
        self.scripts.insert(0, (method, path, mode, argument))
        return True

    async def calls(self, path):
        """How often it was asked for paths that begin so."""
        return sum(asked.startswith(path) for asked in self.asked)

    def answer(self, request):
        path = request.path.decode()
        self.asked.append(path)
        for method, beginning, mode, argument in self.scripts:
            if request.method.decode() == method and path.startswith(beginning):
                return getattr(self, f"_{mode}")(request, argument)
        if path == "/_matrix/key/v2/server":
            return self._json(request, self.keys())
        if path.startswith(f"{FEDERATION}/v1/send/"):
            return self._json(request, {"pdus": {}})
        return self._json(request, {"errcode": "M_NOT_FOUND"}, 404)

    def keys(self, valid_until=None):
        public = encode_base64(get_verify_key(self.key).encode())
        said = {
            "server_name": self.name,
            "valid_until_ts": valid_until or forge.now() + 3_600_000,
            "verify_keys": {f"{self.key.alg}:{self.key.version}": {"key": public}},
            "old_verify_keys": {},
        }
        return sign_json(said, self.name, self.key)

    def _json(self, request, content, status=200):
        request.setResponseCode(status)
        request.setHeader("Content-Type", "application/json")
        return json.dumps(content).encode()

    def _silent(self, request, argument):
        return NOT_DONE_YET

    def _drip(self, request, argument):
        """A byte a second, for ever."""
        return self._repeat(request, b" ", 1.0)

    def _endless(self, request, argument):
        """As fast as it can, for ever."""
        return self._repeat(request, b" " * 65536, 0.001)

    def _repeat(self, request, part, pause):
        loop = task.LoopingCall(request.write, part)
        request.notifyFinish().addBoth(lambda _: loop.running and loop.stop())
        loop.start(pause)
        return NOT_DONE_YET

    def _event(self, request, argument):
        """Any event that is asked for is this one."""
        return self._json(request, {"origin": self.name, "origin_server_ts": 1, "pdus": [argument]})

    def _chain(self, request, argument):
        """The events that are missing rest on others that are missing, and so on."""
        request.content.seek(0)
        asked = json.loads(request.content.read())
        events, room = [], self.rooms[argument]
        for wanted in asked["latest_events"][:1]:
            first = room["events"].get(wanted)
            if first is not None:
                events = [room["events"][each] for each in first["prev_events"] if each in room["events"]]
        return self._json(request, {"events": events})


class Door(Resource):
    """Everything that comes in."""

    isLeaf = True  # noqa: N815 (Twisted's name)

    def __init__(self, adversary):
        super().__init__()
        self.adversary = adversary

    def render(self, request):
        return self.adversary.answer(request)


class Orders(LineReceiver):
    """Lines from standard input."""

    delimiter = b"\n"
    MAX_LENGTH = 2**28

    def __init__(self, adversary):
        self.adversary = adversary

    def lineReceived(self, line):  # noqa: N802 (Twisted's name)
        ensureDeferred(self.obey(json.loads(line)))

    async def obey(self, order):
        number, name = order.pop("id"), order.pop("do")
        try:
            answer = {"id": number, "result": await getattr(self.adversary, name)(**order)}
        except Exception:
            answer = {"id": number, "failed": traceback.format_exc()}
        self.sendLine(json.dumps(answer).encode())

    def connectionLost(self, reason=None):  # noqa: N802
        if reactor.running:
            reactor.stop()


class _Gather(Protocol):
    def __init__(self, done):
        self.parts, self.done = [], done

    def dataReceived(self, data):  # noqa: N802
        self.parts.append(data)

    def connectionLost(self, reason=None):  # noqa: N802
        self.done.callback(b"".join(self.parts))


def _body(response):
    done = Deferred()
    response.deliverBody(_Gather(done))
    return done


def _producer(content):
    return FileBodyProducer(io.BytesIO(content))


def main(name, certificate, key, authorities):
    own = ssl.PrivateCertificate.loadPEM(Path(key).read_text() + "\n" + Path(certificate).read_text())
    adversary = Adversary(name, [ssl.Certificate.loadPEM(Path(authorities).read_text())])
    host, _, port = name.rpartition(":")
    door = endpoints.SSL4ServerEndpoint(reactor, int(port), own.options(), interface=host)
    orders = Orders(adversary)
    StandardIO(orders)
    listening = door.listen(Site(Door(adversary)))
    listening.addCallback(lambda _: orders.sendLine(b'{"id": 0, "result": "ready"}'))
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
