"""What the web layer costs: CPU microseconds of the server per trivial request over keep-alive connections.

    python -m benchmarks.web_overhead [requests]

The server runs in a process of its own and reports its CPU time, so the cost of this client is not counted.
"""

import asyncio
import multiprocessing
import socket
import sys
import time
from multiprocessing.connection import Connection

import orjson
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.gate import Gate
from homeserver.web.metrics import HttpMetrics
from homeserver.web.rate_limit import RateLimiter
from homeserver.web.reply import Result
from homeserver.web.requester import Requester
from homeserver.web.serve import Web
from homeserver.web.settings import WebSettings

CONNECTIONS = 16
EMPTY_SYNC = {"next_batch": "s123456", "rooms": {}, "presence": {"events": []}}
REQUESTER = Requester(user_id="@alice:example.org", user_nid=1, device_id="DEVICE")

HEAD = "Host: localhost\r\nAuthorization: Bearer secret\r\nUser-Agent: bench\r\nAccept: */*\r\n"
SEND_BODY = orjson.dumps({"msgtype": "m.text", "body": "x" * 200})
CASES = {
    "whoami, no auth": f"GET /_homing/trivial HTTP/1.1\r\n{HEAD}\r\n".encode(),
    "empty sync": f"GET /_matrix/client/v3/sync?since=s1&timeout=0 HTTP/1.1\r\n{HEAD}\r\n".encode(),
    "send": (
        "PUT /_matrix/client/v3/rooms/%21abc%3Aexample.org/send/m.room.message/123 HTTP/1.1\r\n"
        f"{HEAD}Content-Type: application/json\r\nContent-Length: {len(SEND_BODY)}\r\n\r\n"
    ).encode()
    + SEND_BODY,
}


async def trivial(call: Call) -> Result:
    return {}


async def sync(call: Call) -> Result:
    call.query.string("since", None)
    call.query.integer("timeout", 0)
    return EMPTY_SYNC


async def send(call: Call) -> Result:
    call.canonical_body()
    return {"event_id": "$123" + call.path["eventType"]}


async def cpu(call: Call) -> Result:
    return {"cpu": time.process_time()}


async def authenticate(token: str, call: Call) -> Requester:
    return REQUESTER


async def serve(pipe: Connection) -> None:
    endpoints = [
        Endpoint("GET", "/_homing/trivial", trivial, auth=Auth.NONE),
        Endpoint("GET", "/v3/sync", sync, long_poll=True),
        Endpoint("PUT", "/v3/rooms/{roomId}/send/{eventType}/{txnId}", send, rate="message"),
        Endpoint("GET", "/cpu", cpu, auth=Auth.NONE),
    ]
    server = Web(
        endpoints,
        Gate(authenticate),
        limiter=RateLimiter(None),
        metrics=HttpMetrics(CollectorRegistry()),
        settings=WebSettings(),
    )
    pipe.send(await server.listen("127.0.0.1", 0))
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    await server.stop()


async def serve_plain(pipe: Connection) -> None:
    """aiohttp alone with its own Response, as the floor to compare with."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/cpu":
            return web.json_response({"cpu": time.process_time()})
        await request.read()
        return web.Response(body=orjson.dumps(EMPTY_SYNC), content_type="application/json")

    server = web.Server(handle, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    pipe.send(listener.sockets[0].getsockname()[1])
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)


def run_server(pipe: Connection, plain: bool) -> None:
    uvloop.run(serve_plain(pipe) if plain else serve(pipe))


def exchange(connection: socket.socket, request: bytes) -> bytes:
    """One request and its answer; answers here fit into one packet."""
    connection.sendall(request)
    answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return answer


def server_cpu(connection: socket.socket) -> float:
    answer = exchange(connection, f"GET /cpu HTTP/1.1\r\n{HEAD}\r\n".encode())
    return float(orjson.loads(answer.partition(b"\r\n\r\n")[2])["cpu"])


def measure(port: int, request: bytes, count: int) -> float:
    """CPU microseconds a request, `CONNECTIONS` of them on their way at a time."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    for connection in connections:
        exchange(connection, request)
    before = server_cpu(connections[0])
    for _ in range(count // CONNECTIONS):
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            connection.recv(65536)
    spent = server_cpu(connections[0]) - before
    for connection in connections:
        connection.close()
    return spent / (count // CONNECTIONS * CONNECTIONS) * 1e6


def bench(name: str, plain: bool, count: int) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=run_server, args=(theirs, plain))
    process.start()
    port = ours.recv()
    for case, request in CASES.items():
        print(f"{name:12} {case:18} {measure(port, request, count):6.1f} us")
    ours.send("stop")
    process.join()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    bench("aiohttp", True, count)
    bench("web layer", False, count)


if __name__ == "__main__":
    main()
