"""The generator's HTTP client takes answers however they are framed and cut."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.connection import Address, Answer, Connection, RequestFailed, parse_answer
from benchmarks.scenarios.marks import mark, marks, next_batch

PLAIN = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'
CHUNKED = b'HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n'
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "answer"),
    [(PLAIN, Answer(200, b'{"a":1}')), (CHUNKED, Answer(404, b'{"a":1}')), (EMPTY, Answer(200, b""))],
)
def test_an_answer_is_taken_when_it_is_whole_and_not_before(received, answer):
    assert parse_answer(bytearray(received)) == answer
    for cut in range(len(received)):
        assert parse_answer(bytearray(received[:cut])) is None


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8))
def test_chunks_are_joined(chunks):
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    received = bytearray(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body)
    assert parse_answer(received) == Answer(200, b"".join(chunks))


async def test_a_connection_that_the_server_closed_is_opened_again():
    served = []

    async def serve(reader, writer):
        served.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(PLAIN)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        connection = Connection(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
        first = await connection.request("GET", "/one", token="secret")
        async with asyncio.timeout(5):
            while not connection.closed:  # noqa: ASYNC110 (a plain flag serves the benchmark better than an event)
                await asyncio.sleep(0)
        second = await connection.request("GET", "/two")
        connection.close()
    assert first == second == Answer(200, b'{"a":1}')
    assert b"GET /one HTTP/1.1" in served[0]
    assert b"Authorization: Bearer secret" in served[0]
    assert b"Authorization" not in served[1]


async def test_no_answer_is_a_failure():
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        connection = Connection(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
        with pytest.raises(RequestFailed):
            await connection.request("GET", "/")


def test_marks_of_this_run_are_found():
    answer = f'{{"next_batch": "s1_2","body":"{mark("ab", 3)}","body":"{mark("cd", 4)}"}}'.encode()
    assert marks("ab", answer) == [3]
    assert next_batch(answer) == "s1_2"
