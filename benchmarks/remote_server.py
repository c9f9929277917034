"""Other servers, as many names as wanted, in this process: they publish keys, let join, and take what they are sent.

All answer at one port of every loopback address, so that three hundred servers need one listener. What they answer is
prepared; they check nothing, as they are not what is measured.
"""

import asyncio
import itertools
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web
from attrs import Factory, define
from signedjson.key import generate_signing_key
from signedjson.sign import sign_json
from unpaddedbase64 import encode_base64

from benchmarks.connection import Connection, RequestFailed
from benchmarks.remote_rooms import VERSION, RemoteRoom
from benchmarks.servers import Site
from federation.protocol import transactions, x_matrix
from homeserver.core.event import event_from_pdu
from homeserver.core.event_build import Signer
from homeserver.core.hashing import event_id_of
from homeserver.core.signing import sign_event
from tests.kit.loopback import Authority, free_port

DAY_MS = 24 * 3600 * 1000
_hosts = itertools.count(1)
_transactions = itertools.count(1)


@define(eq=False)
class RemoteServers:
    """The servers by their names; all sign with keys of their own."""

    port: int
    signers: list[Signer]
    rooms: dict[str, RemoteRoom] = Factory(dict)
    heard: dict[str, set[str]] = Factory(dict)  # event id -> servers that were sent it
    keys: dict[str, bytes] = Factory(dict)
    _news: asyncio.Condition = Factory(asyncio.Condition)
    _states: dict[str, tuple[bytes, bytes]] = Factory(dict)

    def keep(self, room: RemoteRoom) -> RemoteRoom:
        """Let others join the room as it is now."""
        self.rooms[room.room_id] = room
        chain = room.state[:4]  # what everybody's join rests on
        self._states[room.room_id] = (
            _list([each.json for each in room.state]),
            _list([e.json for e in chain]),
        )
        return room

    async def reached(self, event_id: str, servers: int, limit: float) -> None:
        """Wait until so many servers have the event."""
        async with asyncio.timeout(limit), self._news:
            await self._news.wait_for(lambda: len(self.heard.get(event_id, ())) >= servers)

    # Answers

    async def key(self, request: web.Request) -> web.Response:
        name = request.host
        if name not in self.keys:
            signer = next(each for each in self.signers if each.server_name == name)
            public = encode_base64(signer.key.verify_key.encode())
            said = {
                "server_name": name,
                "valid_until_ts": time.time_ns() // 1_000_000 + DAY_MS,
                "verify_keys": {f"{signer.key.alg}:{signer.key.version}": {"key": public}},
                "old_verify_keys": {},
            }
            self.keys[name] = orjson.dumps(sign_json(said, name, signer.key))
        return _json(self.keys[name])

    async def make_join(self, request: web.Request) -> web.Response:
        room = self.rooms[request.match_info["room"]]
        return _json(orjson.dumps(room.join_template(request.match_info["user"])))

    async def send_join(self, request: web.Request) -> web.Response:
        """The whole state, whatever was asked to be left out: what is measured is the full join."""
        room = self.rooms[request.match_info["room"]]
        pdu = orjson.loads(await request.read())
        state, chain = self._states[room.room_id]
        room.joined(event_from_pdu(pdu, event_id_of(pdu, VERSION), VERSION))
        name = self.signers[0].server_name
        cosigned = sign_event(pdu, name, self.signers[0].key, VERSION)
        return _json(
            b'{"auth_chain":%b,"event":%b,"members_omitted":false,"origin":%b,"state":%b}'
            % (chain, orjson.dumps(cosigned), orjson.dumps(name), state)
        )

    async def transaction(self, request: web.Request) -> web.Response:
        said = orjson.loads(await request.read())
        for pdu in said["pdus"]:
            event_id = event_id_of(pdu, VERSION)
            self.heard.setdefault(event_id, set()).add(request.host)
        if said["pdus"]:
            async with self._news:
                self._news.notify_all()
        return _json(b'{"pdus":{}}')

    async def version(self, request: web.Request) -> web.Response:
        return _json(b'{"server":{"name":"synthetic","version":"1"}}')


@asynccontextmanager
async def remote_servers(authority: Authority, count: int) -> AsyncIterator[RemoteServers]:
    """So many servers that answer."""
    port = free_port("0.0.0.0")
    names = [f"127.1.{number // 250}.{1 + number % 250}:{port}" for number in itertools.islice(_hosts, count)]
    servers = RemoteServers(port, [Signer(name, generate_signing_key("bench")) for name in names])
    app = web.Application(client_max_size=2**26)
    federation = "/_matrix/federation"
    app.router.add_get("/_matrix/key/v2/server", servers.key)
    app.router.add_get(f"{federation}/v1/version", servers.version)
    app.router.add_get(federation + "/v1/make_join/{room}/{user}", servers.make_join)
    app.router.add_put(federation + "/v2/send_join/{room}/{event}", servers.send_join)
    app.router.add_put(federation + "/v1/send/{txn}", servers.transaction)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        context = _tls(authority, names)
        await web.TCPSite(runner, "0.0.0.0", port, ssl_context=context, backlog=1024).start()
        yield servers
    finally:
        await runner.cleanup()


@define(eq=False)
class Sender:
    """One remote server's transactions to a server under test; signed before the clock runs."""

    site: Site
    signer: Signer
    connection: Connection

    def prepare(self, pdus: Sequence[bytes]) -> tuple[str, str, bytes]:
        """Target, header and body of a transaction."""
        target = f"/_matrix/federation/v1/send/bench{next(_transactions)}"
        name = self.signer.server_name
        body = transactions.build(name, time.time_ns() // 1_000_000, pdus=pdus)
        request = x_matrix.SignedRequest("PUT", target, name, self.site.server_name, body)
        return target, x_matrix.build(x_matrix.sign(request, self.signer.key)), body

    async def send(self, target: str, header: str, body: bytes) -> int:
        """Gives how many PDUs were taken."""
        answer = await self.connection.request("PUT", target, authorization=header, body=body)
        if answer.status != 200:
            raise RequestFailed(f"PUT {target}: {answer.status} {answer.body[:500]!r}")
        results: dict[str, Any] = orjson.loads(answer.body)["pdus"]
        errors = [result["error"] for result in results.values() if "error" in result]
        if errors:
            raise RequestFailed(f"PUT {target}: {len(errors)} PDUs refused, as {errors[0]}")
        return len(results)


def _tls(authority: Authority, names: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.ca.issue_cert(*(name.partition(":")[0] for name in names)).configure_cert(context)
    return context


def _list(events: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(events) + b"]"


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
