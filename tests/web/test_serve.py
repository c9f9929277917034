"""The whole way of a request, over real HTTP: refusals, forms of answers, limits, stopping."""

import asyncio
import gzip
import zlib

import aiohttp
import orjson
import pytest

from homeserver.web.connection import Connection
from homeserver.web.settings import WebSettings
from tests.web.site import Site, read_answer, running_site


@pytest.fixture
def connection_lost(monkeypatch):
    """Set when the server has lost a client."""
    lost = asyncio.Event()
    original = Connection.connection_lost

    def noticed(self, exc):
        original(self, exc)
        lost.set()

    monkeypatch.setattr(Connection, "connection_lost", noticed)
    return lost


CLIENT = "/_matrix/client/v3"
BEARER_ALICE = {"Authorization": "Bearer alice"}

REFUSALS = [
    ("GET", "/nothing", {}, b"", 404, "M_UNRECOGNIZED"),
    ("GET", "/", {}, b"", 404, "M_UNRECOGNIZED"),
    ("GET", f"{CLIENT}/rooms//state/x", {}, b"", 404, "M_UNRECOGNIZED"),
    ("DELETE", f"{CLIENT}/account/whoami", {}, b"", 405, "M_UNRECOGNIZED"),
    ("PROPFIND", f"{CLIENT}/echo", {}, b"", 405, "M_UNRECOGNIZED"),
    ("GET", f"{CLIENT}/account/whoami", {}, b"", 401, "M_MISSING_TOKEN"),
    ("GET", f"{CLIENT}/account/whoami", {"Authorization": "Basic abc"}, b"", 401, "M_MISSING_TOKEN"),
    ("GET", f"{CLIENT}/account/whoami", {"Authorization": "Bearer "}, b"", 401, "M_MISSING_TOKEN"),
    ("GET", f"{CLIENT}/account/whoami", {"Authorization": "Bearer no"}, b"", 401, "M_UNKNOWN_TOKEN"),
    ("GET", f"{CLIENT}/account/whoami?access_token=%C3%A4", {}, b"", 401, "M_UNKNOWN_TOKEN"),
    ("GET", f"{CLIENT}/open", {"Authorization": "Bearer no"}, b"", 401, "M_UNKNOWN_TOKEN"),
    ("GET", f"{CLIENT}/user_only", {"Authorization": "Bearer guest"}, b"", 403, "M_GUEST_ACCESS_FORBIDDEN"),
    ("GET", "/_synapse/admin/v1/users/@a:x", BEARER_ALICE, b"", 403, "M_FORBIDDEN"),
    ("PUT", "/_matrix/federation/v1/send/1", {}, b"{}", 403, "M_FORBIDDEN"),
    ("POST", f"{CLIENT}/echo", {}, b"", 400, "M_NOT_JSON"),
    ("POST", f"{CLIENT}/echo", {}, b"{", 400, "M_NOT_JSON"),
    ("POST", f"{CLIENT}/echo", {}, b'{"a":"\xff"}', 400, "M_NOT_JSON"),
    ("POST", f"{CLIENT}/echo", {}, b'{"a":NaN}', 400, "M_NOT_JSON"),
    ("POST", f"{CLIENT}/echo", {}, b'{"a":"\\ud800"}', 400, "M_NOT_JSON"),
    ("POST", f"{CLIENT}/echo", {}, b"[]", 400, "M_BAD_JSON"),
    ("POST", f"{CLIENT}/echo", {}, b'"text"', 400, "M_BAD_JSON"),
    ("POST", f"{CLIENT}/echo", {}, b'{"a":' * 201 + b"1" + b"}" * 201, 400, "M_BAD_JSON"),
    ("POST", f"{CLIENT}/echo", {}, b'{"a":' * 100_000, 400, "M_NOT_JSON"),
    ("POST", f"{CLIENT}/logout", {}, b"[]", 400, "M_BAD_JSON"),
    ("POST", f"{CLIENT}/event", {}, b'{"a":1.5}', 400, "M_BAD_JSON"),
    ("POST", f"{CLIENT}/event", {}, b'{"a":[{"b":1e3}]}', 400, "M_BAD_JSON"),
    ("POST", f"{CLIENT}/event", {}, b'{"a":9007199254740992}', 400, "M_BAD_JSON"),
    ("POST", f"{CLIENT}/event", {}, b'{"a":' + b"9" * 40 + b"}", 400, "M_BAD_JSON"),
    ("POST", f"{CLIENT}/fields", {}, b"{}", 400, "M_MISSING_PARAM"),
    ("POST", f"{CLIENT}/fields", {}, b'{"identifier":null}', 400, "M_BAD_JSON"),
    ("POST", f"{CLIENT}/fields", {}, b'{"identifier":{}}', 400, "M_MISSING_PARAM"),
    ("POST", f"{CLIENT}/fields", {}, b'{"identifier":{"user":"a\\u0000"}}', 400, "M_BAD_JSON"),
    ("POST", f"{CLIENT}/fields", {}, b'{"identifier":{"user":"a"},"limit":true}', 400, "M_BAD_JSON"),
    ("POST", f"{CLIENT}/fields", {}, b'{"identifier":{"user":"a"},"invite":[1]}', 400, "M_BAD_JSON"),
    ("POST", f"{CLIENT}/tiny", {}, b'{"a":"123456"}', 413, "M_TOO_LARGE"),
    ("POST", f"{CLIENT}/echo", {}, b'{"a":"' + b"x" * 1_048_576 + b'"}', 413, "M_TOO_LARGE"),
    ("POST", f"{CLIENT}/echo", {"Content-Encoding": "gzip"}, b"no gzip", 400, "M_UNKNOWN"),
    ("GET", f"{CLIENT}/query", {}, b"", 400, "M_MISSING_PARAM"),
    ("GET", f"{CLIENT}/query?from=a&limit=many", {}, b"", 400, "M_INVALID_PARAM"),
    ("GET", f"{CLIENT}/query?from=a&limit=-1", {}, b"", 400, "M_INVALID_PARAM"),
    ("GET", f"{CLIENT}/query?from=a&limit=9007199254740992", {}, b"", 400, "M_INVALID_PARAM"),
    ("GET", f"{CLIENT}/query?from=a&full=yes", {}, b"", 400, "M_INVALID_PARAM"),
    ("GET", f"{CLIENT}/query?from=a&dir=up", {}, b"", 400, "M_INVALID_PARAM"),
    ("GET", f"{CLIENT}/query?from=%FF", {}, b"", 400, "M_INVALID_PARAM"),
    ("GET", f"{CLIENT}/query?from=%00", {}, b"", 400, "M_INVALID_PARAM"),
    ("GET", f"{CLIENT}/query?from=a" + "&via=b" * 1001, {}, b"", 400, "M_INVALID_PARAM"),
    ("GET", f"{CLIENT}/directory/room/%FF", {}, b"", 400, "M_INVALID_PARAM"),
    ("GET", f"{CLIENT}/directory/room/a%00b", {}, b"", 400, "M_INVALID_PARAM"),
    ("GET", f"{CLIENT}/bug", {}, b"", 500, "M_UNKNOWN"),
    ("GET", f"{CLIENT}/gone", {}, b"", 503, "M_UNKNOWN"),
]


def request_bytes(method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
    headers = {"Host": "x", "Connection": "close", **headers}
    if body:
        headers["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body


@pytest.mark.parametrize(("method", "target", "headers", "body", "status", "errcode"), REFUSALS)
async def test_refusal(site: Site, method, target, headers, body, status, errcode):
    got, answer_headers, text = await site.exchange(request_bytes(method, target, headers, body))
    error = orjson.loads(text)
    assert (got, error["errcode"]) == (status, errcode)
    assert error["error"]
    assert answer_headers["content-type"] == "application/json"
    assert answer_headers["access-control-allow-origin"] == "*"
    assert answer_headers["x-request-id"]


async def test_cors_headers_are_the_specified_ones_and_options_runs_nothing(http):
    for path in (f"{CLIENT}/account/whoami", f"{CLIENT}/bug", "/nothing"):
        async with http.options(path) as answer:
            assert answer.status == 204
            methods = answer.headers["Access-Control-Allow-Methods"].split(", ")
            assert {"GET", "POST", "PUT", "DELETE", "OPTIONS"} <= set(methods)
            allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
            assert {"X-Requested-With", "Content-Type", "Authorization"} <= set(allowed)
            assert "Content-Length" not in answer.headers


async def test_a_wrong_method_names_the_right_ones(http):
    async with http.delete(f"{CLIENT}/account/whoami") as answer:
        assert answer.headers["Allow"] == "GET"


@pytest.mark.parametrize(
    ("path", "token", "user"),
    [
        ("account/whoami", "alice", "@alice:x"),
        ("account/whoami", "guest", "@guest:x"),
        ("user_only", "alice", "@alice:x"),
        ("open", "alice", "@alice:x"),
        ("open", None, None),
    ],
)
async def test_who_may_pass(http, path, token, user):
    for headers, query in (
        ({"Authorization": f"Bearer {token}"} if token else {}, {}),
        ({"Authorization": f"bearer  {token}"} if token else {}, {}),
        ({}, {"access_token": token} if token else {}),
    ):
        async with http.get(f"{CLIENT}/{path}", headers=headers, params=query) as answer:
            assert await answer.json() == {"user_id": user}


async def test_a_server_is_let_in_by_what_it_signed(site):
    request = request_bytes(
        "PUT", "/_matrix/federation/v1/send/%31?a=%20", {"Authorization": "X-Matrix remote"}, b'{"x":1}'
    )
    _, _, body = await site.exchange(request)
    assert orjson.loads(body) == {
        "origin": "remote signed 7",
        "target": "/_matrix/federation/v1/send/%31?a=%20",
        "x": 1,
    }


async def test_aliases_and_versions_lead_to_one_endpoint(http):
    for path in ("/_matrix/client/v3/echo", "/_matrix/client/r0/echo", "/_matrix/client/unstable/org.x/echo"):
        async with http.post(path, data=b'{"a":1,"a":2}') as answer:
            assert await answer.json() == {"a": 2}  # of duplicate keys the last wins
    async with http.post("/_matrix/client/v1/echo", data=b"{}") as answer:
        assert answer.status == 404


async def test_query_accessors(http):
    url = f"{CLIENT}/query?from=s%201+2&limit=0&full=true&dir=b&via=a&via=b&from=other"
    async with http.get(url) as answer:
        assert await answer.json() == {
            "from": "s 1 2",
            "limit": 0,
            "full": True,
            "dir": "b",
            "via": ["a", "b"],
        }
    async with http.get(f"{CLIENT}/query?from=") as answer:
        assert await answer.json() == {"from": "", "limit": 10, "full": False, "dir": "f", "via": []}


async def test_body_accessors(http):
    body = {"identifier": {"user": "a"}, "limit": None, "flag": True, "invite": ["b"]}
    async with http.post(f"{CLIENT}/fields", json=body) as answer:
        assert await answer.json() == {"user": "a", "limit": 5, "flag": True, "invite": ["b"]}
    async with http.post(f"{CLIENT}/logout") as answer:
        assert await answer.json() == {}
    deep = b'{"a":' * 200 + b"1" + b"}" * 200
    async with http.post(f"{CLIENT}/event", data=deep) as answer:
        assert answer.status == 200


async def test_a_surprise_shows_only_its_request_id(site, http, caplog):
    async with http.get(f"{CLIENT}/bug") as answer:
        text = await answer.text()
        assert answer.headers["X-Request-Id"] in text
        assert "secret" not in text
        assert "KeyError" not in text
    assert site.registry.get_sample_value("homing_http_surprises_total") == 1


async def test_a_known_fault_says_when_to_come_back(http):
    async with http.get(f"{CLIENT}/gone") as answer:
        assert answer.headers["Retry-After"] == "1"
        assert "hunter2" not in await answer.text()


async def test_forms_of_answers(site, http):
    async with http.get(f"{CLIENT}/raw") as answer:
        assert await answer.json() == {"raw": True}
        assert answer.headers["Cache-Control"] == "no-store"
    async with http.get(f"{CLIENT}/redirect", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/there")
        assert answer.headers.getall("Cache-Control") == ["public"]
        assert await answer.json() == {"nested": {"a": 1}}
    async with http.get(f"{CLIENT}/download") as answer:
        assert await answer.read() == b"one two"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_stream_of_known_length_is_no_chunks(site, http):
    async with http.get(f"{CLIENT}/file") as answer:
        assert await answer.read() == b"one two"
        assert (answer.headers["Content-Length"], answer.content_type) == ("7", "text/plain")
        assert "Transfer-Encoding" not in answer.headers
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    async with http.head(f"{CLIENT}/file") as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, "7")
    async with http.get(f"{CLIENT}/raw") as answer:  # the connection is still in step
        assert answer.status == 200


@pytest.mark.parametrize("path", ["broken_download", "broken_file"])
async def test_a_stream_that_fails_is_never_mistaken_for_a_whole_one(http, path):
    with pytest.raises(aiohttp.ClientPayloadError):
        async with http.get(f"{CLIENT}/{path}") as answer:
            await answer.read()


async def test_nothing_is_written_into_the_midst_of_a_stream_that_fails(site):
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"GET {CLIENT}/broken_file HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == b"x" * 100_000
    writer.close()


async def test_head_is_get_without_a_body(http):
    async with http.head(f"{CLIENT}/raw") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Length"] == "12"
    async with http.get(f"{CLIENT}/raw") as answer:  # the connection is still in step
        assert answer.status == 200


async def test_http_1_0_and_keep_alive(site):
    target = f"{CLIENT}/raw"
    _, headers, _ = await site.exchange(f"GET {target} HTTP/1.0\r\n\r\n".encode())
    assert headers["connection"] == "close"
    _, headers, _ = await site.exchange(f"GET {target} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
    assert headers["connection"] == "keep-alive"


async def test_http_1_0_ends_a_stream_by_closing(site):
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"GET {CLIENT}/download HTTP/1.0\r\n\r\n".encode())
    assert (await reader.read()).endswith(b"\r\n\r\none two")
    writer.close()


async def test_pipelined_requests_are_answered_in_order(site):
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    for size in (1, 2, 3):
        writer.write(f"GET {CLIENT}/large?size={size} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answers = [orjson.loads((await read_answer(reader))[2])["text"] for _ in range(3)]
    assert answers == ["x", "xx", "xxx"]
    writer.close()


@pytest.mark.parametrize(
    ("size", "accepted", "encoding"),
    [
        (10, "gzip", None),  # too small to pay
        (5_000, "gzip, deflate", "gzip"),
        (200_000, "br, gzip;q=0.5", "gzip"),  # in a thread
        (5_000, "gzip;q=0", None),
        (5_000, "", None),
    ],
)
async def test_compression_is_for_those_who_ask(site, size, accepted, encoding):
    headers = {"Accept-Encoding": accepted} if accepted else {}
    request = request_bytes("GET", f"{CLIENT}/large?size={size}", headers, b"")
    _, answer_headers, body = await site.exchange(request)
    assert answer_headers.get("content-encoding") == encoding
    text = gzip.decompress(body) if encoding else body
    assert len(orjson.loads(text)["text"]) == size


async def test_a_compressed_bomb_is_stopped_at_the_limit(http):
    bomb = zlib.compress(b" " * 50_000_000, 9, 31)
    async with http.post(f"{CLIENT}/echo", data=bomb, headers={"Content-Encoding": "gzip"}) as answer:
        assert (answer.status, (await answer.json())["errcode"]) == (413, "M_TOO_LARGE")


async def test_a_chunked_body_is_stopped_at_the_limit(http):
    async def endless():
        for _ in range(100):
            yield b"x" * 100_000

    for path in (f"{CLIENT}/echo", "/_matrix/media/v3/upload"):
        async with http.post(path, data=endless()) as answer:
            assert (answer.status, (await answer.json())["errcode"]) == (413, "M_TOO_LARGE")


async def test_an_upload_is_read_as_it_comes(http):
    async with http.post("/_matrix/media/v3/upload", data=b"x" * 90_000) as answer:
        assert await answer.json() == {"size": 90_000}
    async with http.post("/_matrix/media/v3/upload", data=b"x" * 100_001) as answer:
        assert answer.status == 413


async def test_a_client_that_asks_first_is_invited(site):
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(
        f"POST {CLIENT}/echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n".encode()
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b'{"a":1}')
    assert (await read_answer(reader))[2] == b'{"a":1}'
    writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for():
    async with running_site(settings=WebSettings(body_timeout=0.05, stop_timeout=0.1)) as site:
        status, _, body = await site.exchange(
            f"POST {CLIENT}/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{{".encode()
        )
        assert (status, orjson.loads(body)["errcode"]) == (408, "M_UNKNOWN")


async def test_a_client_that_does_not_read_is_cut_off(connection_lost):
    async with running_site(settings=WebSettings(write_timeout=0.05, stop_timeout=5)) as site:
        _, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
        writer.transport.pause_reading()
        writer.write(f"GET {CLIENT}/large?size=30000000 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(5):
            await connection_lost.wait()
        writer.close()


async def test_the_rest_of_a_refused_body_is_not_awaited_from_who_has_left(site, connection_lost):
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"POST {CLIENT}/tiny HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode())
    assert (await read_answer(reader))[0] == 413
    writer.transport.abort()
    await connection_lost.wait()
    async with asyncio.timeout(0.5):  # less than the second that running handlers would get
        await site.web.stop()


async def test_rate_limits_say_when_to_come_back(site, http):
    url = f"{CLIENT}/limited"
    statuses = []
    for token in ("alice", "alice", "alice", "admin"):
        async with http.post(url, headers={"Authorization": f"Bearer {token}"}) as answer:
            statuses.append(answer.status)
            if answer.status == 429:
                error = await answer.json()
                assert error["errcode"] == "M_LIMIT_EXCEEDED"
                assert 0 < error["retry_after_ms"] <= 1000
                assert answer.headers["Retry-After"] == "1"
    assert statuses == [200, 200, 429, 200]  # each user has a share of their own


@pytest.mark.parametrize(("trusted", "statuses"), [(True, [200, 200, 200]), (False, [200, 200, 429])])
async def test_who_is_not_logged_in_is_limited_by_address(trusted, statuses):
    async with (
        running_site(settings=WebSettings(trust_forwarded=trusted)) as site,
        aiohttp.ClientSession(site.url) as http,
    ):
        got = []
        for number in range(3):
            headers = {"X-Forwarded-For": f"spoofed, 10.0.0.{number}"}
            async with http.post(f"{CLIENT}/login", headers=headers) as answer:
                got.append(answer.status)
        assert got == statuses


async def test_a_waiting_handler_ends_with_its_client(site):
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"GET {CLIENT}/sync HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await site.handlers.entered.wait()
    writer.transport.abort()
    async with asyncio.timeout(5):
        await site.handlers.cancelled.wait()
    assert not site.handlers.finished.is_set()


async def test_a_write_goes_on_without_its_client(site):
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"PUT {CLIENT}/write HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await site.handlers.entered.wait()
    writer.transport.abort()
    async with asyncio.timeout(5):
        # Another connection's answer comes after the server has seen the broken one.
        assert (await site.get(f"{CLIENT}/raw"))[0] == 200
        site.handlers.release.set()
        await site.handlers.finished.wait()
    assert not site.handlers.cancelled.is_set()


async def test_stopping_sends_the_waiting_home_and_lets_writes_finish(site):
    async def ask(method: str, path: str):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(f"{method} {CLIENT}/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await site.handlers.entered.wait()
        site.handlers.entered.clear()
        return reader, writer

    poll, poll_writer = await ask("GET", "sync")
    write, write_writer = await ask("PUT", "write")
    stop = asyncio.create_task(site.web.stop())
    assert (await read_answer(poll))[0] == 503
    site.handlers.release.set()
    assert (await read_answer(write))[0] == 200
    await stop
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", site.port)
    poll_writer.close()
    write_writer.close()


async def test_health_readiness_and_metrics(site, http):
    async with http.get("/health") as answer:
        assert (answer.status, await answer.text()) == (200, "OK")
    async with http.get("/_homing/ready") as answer:
        assert (answer.status, await answer.json()) == (200, {"ready": True, "problems": {}})
    site.handlers.problem = "no connection"
    async with http.get("/_homing/ready") as answer:
        assert answer.status == 503
        assert await answer.json() == {"ready": False, "problems": {"database": "no connection"}}
    async with http.get("/nothing/at/all"):
        pass
    async with http.get("/metrics") as answer:
        text = await answer.text()
    assert 'homing_http_requests_total{endpoint="/health",method="GET",status="200"} 1.0' in text
    assert 'endpoint="(none)",method="(none)",status="404"' in text
    assert "homing_http_running 1.0" in text
    assert "homing_http_connections 1.0" in text


async def test_what_is_not_http_gets_a_matrix_error_too(site):
    for junk in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"):
        status, headers, body = await site.exchange(junk)
        assert (status, orjson.loads(body)["errcode"]) == (400, "M_UNKNOWN")
        assert headers["access-control-allow-origin"] == "*"


async def test_a_unix_socket_serves_too(site, tmp_path):
    await site.web.listen_unix(str(tmp_path / "s"))
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    writer.write(f"POST {CLIENT}/login HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert orjson.loads((await read_answer(reader))[2]) == {"ip": ""}
    writer.close()
