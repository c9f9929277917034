"""The one wrapper around every handler: find it, let the caller in, run it, answer whatever comes out.

The order is that of the refusals: an unknown path before a bad token, a bad token before a rate limit, a rate
limit before a bad body. A body is read only when all else is settled; a federation request is the exception, as
its signature covers the body.
"""

import asyncio
import time
from collections.abc import AsyncIterable

import structlog
from aiohttp import web
from attrs import frozen

from homeserver.core.errors import MatrixError
from homeserver.web.answer import GZIP_FROM, PREFLIGHT, Answer, compress, encode, send_stream
from homeserver.web.body import check_declared_length, invite_body, read_body
from homeserver.web.call import Call
from homeserver.web.connection import Connection
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.errors import Faults, error_reply, internal_error, known_fault, stopping
from homeserver.web.gate import Gate
from homeserver.web.metrics import HttpMetrics
from homeserver.web.rate_limit import RateLimiter
from homeserver.web.reply import Reply, Result
from homeserver.web.request_id import next_request_id
from homeserver.web.router import Router
from homeserver.web.settings import WebSettings

_NO_ENDPOINT = "(none)"
_GONE = 499  # in metrics and logs only: the client left before the answer
_SLOW = 1.0  # seconds; what takes longer is worth a line in the log


class _Visit:
    """What is known about one request while it is answered."""

    __slots__ = ("call", "endpoint", "id", "request", "started")

    def __init__(self, request: web.BaseRequest) -> None:
        self.request = request
        self.id = next_request_id()
        self.started = time.perf_counter()
        self.endpoint: Endpoint | None = None
        self.call: Call | None = None


@frozen
class Dispatcher:
    """Answers requests; aiohttp calls it once for each."""

    router: Router
    gate: Gate
    limiter: RateLimiter
    metrics: HttpMetrics
    settings: WebSettings
    faults: Faults

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        visit = _Visit(request)
        self.metrics.running += 1
        try:
            response = await self._response(await self._reply(visit), visit)
        except asyncio.CancelledError:
            self._record(visit, _GONE)
            raise
        finally:
            self.metrics.running -= 1
        self._record(visit, response.status)
        return response

    async def _reply(self, visit: _Visit) -> Reply:
        """The handler's answer, or the error that stands in its place."""
        try:
            if visit.request.method == "OPTIONS":
                return PREFLIGHT  # no logic of the endpoint runs [cs "Web Browser Clients"]
            return encode(await self._handle(visit))
        except MatrixError as error:
            return encode(self._refusal(error, visit))
        except Exception as error:
            return encode(error_reply(self._surprise(error, visit)))

    async def _handle(self, visit: _Visit) -> Result:
        request = visit.request
        endpoint, path = self.router.find(request.method, request.raw_path)
        visit.endpoint = endpoint
        visit.call = call = Call(
            request,
            path,
            client_ip=self._client_ip(request),
            max_body=self.settings.max_body if endpoint.max_body is None else endpoint.max_body,
            empty_body=endpoint.empty_body,
        )
        await self._prepare(endpoint, call, request)
        if endpoint.long_poll:
            return await _poll(endpoint, call, request)
        return await endpoint.handler(call)

    async def _prepare(self, endpoint: Endpoint, call: Call, request: web.BaseRequest) -> None:
        """Let the caller in, count it, and read what it sent."""
        if endpoint.auth is Auth.SERVER:
            await self._read(endpoint, call, request)
            await self.gate.admit(endpoint, call)
            self._count(endpoint, call)
            return
        await self.gate.admit(endpoint, call)
        self._count(endpoint, call)
        await self._read(endpoint, call, request)

    def _count(self, endpoint: Endpoint, call: Call) -> None:
        if endpoint.rate is not None:
            requester = call.requester_or_none
            if requester is not None and not requester.rate_limited:
                return
            key = call.origin or (requester.user_id if requester else call.client_ip)
            self.limiter.check(endpoint.rate, key)

    async def _read(self, endpoint: Endpoint, call: Call, request: web.BaseRequest) -> None:
        if endpoint.stream:
            check_declared_length(request, call.max_body)
            invite_body(request)
        elif request.body_exists:
            timeout = self.settings.body_timeout
            call.raw_body = await read_body(request, limit=call.max_body, timeout=timeout)

    def _client_ip(self, request: web.BaseRequest) -> str:
        if self.settings.trust_forwarded:
            # The last entry is the one our own proxy wrote; those before it are the client's word.
            forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
            if forwarded.isascii() and forwarded:
                return forwarded
        return request.remote or ""

    def _refusal(self, error: MatrixError, visit: _Visit) -> Reply:
        reply = error_reply(error)
        if error.status == 405 and visit.endpoint is None:
            allowed = ", ".join(self.router.allowed(visit.request.raw_path))
            return Reply(reply.status, reply.body, {**reply.headers, "Allow": allowed})
        return reply

    def _surprise(self, error: Exception, visit: _Visit) -> MatrixError:
        log = structlog.get_logger("http")
        known = known_fault(error, self.faults)
        if known is not None:
            log.warning("request failed", request_id=visit.id, errcode=known.errcode, cause=repr(error))
            return known
        self.metrics.surprises.inc()
        log.error("unexpected exception", request_id=visit.id, endpoint=_pattern(visit), exc_info=error)
        return internal_error(visit.id)

    async def _response(self, reply: Reply, visit: _Visit) -> web.StreamResponse:
        timeout = self.settings.write_timeout
        if isinstance(reply.body, bytes) and len(reply.body) >= GZIP_FROM:
            reply = await compress(reply, visit.request.headers.get("Accept-Encoding", ""))
        if isinstance(reply.body, AsyncIterable) and "Content-Length" not in reply.headers:
            return await send_stream(reply, visit.request, request_id=visit.id, write_timeout=timeout)
        return Answer(reply, visit.id, write_timeout=timeout)

    def _record(self, visit: _Visit, status: int) -> None:
        seconds = time.perf_counter() - visit.started
        # A method is the client's text: only those we have are labels.
        method = visit.request.method if visit.endpoint else _NO_ENDPOINT
        self.metrics.record((method, _pattern(visit), status), seconds)
        long_poll = visit.endpoint is not None and visit.endpoint.long_poll
        if self.settings.access_log or (seconds > _SLOW and not long_poll):
            _log_access(visit, status, seconds)


async def _poll(endpoint: Endpoint, call: Call, request: web.BaseRequest) -> Result:
    """Run a handler that waits for news: until its client goes away or the server stops."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    task = asyncio.current_task()
    assert task is not None
    if connection.stopping:
        raise stopping()
    if connection.transport is None:
        raise asyncio.CancelledError
    connection.polling = task
    try:
        return await endpoint.handler(call)
    except asyncio.CancelledError:
        if not connection.stopping or connection.transport is None:
            raise
        task.uncancel()
        raise stopping() from None
    finally:
        connection.polling = None


def _pattern(visit: _Visit) -> str:
    return visit.endpoint.path if visit.endpoint else _NO_ENDPOINT


def _log_access(visit: _Visit, status: int, seconds: float) -> None:
    call = visit.call
    requester = call.requester_or_none if call else None
    structlog.get_logger("http").info(
        "answered",
        request_id=visit.id,
        method=visit.request.method,
        endpoint=_pattern(visit),
        status=status,
        ms=round(seconds * 1000, 1),
        user=requester.user_id if requester else None,
        origin=call.origin or None if call else None,
    )
