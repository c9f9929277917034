"""One client connection: what happens when it breaks, when HTTP is broken, and when the server stops."""

import asyncio
from typing import Any

import structlog
from aiohttp import web

from homeserver.core.errors import MatrixError
from homeserver.web.answer import Answer, encode
from homeserver.web.errors import error_reply, internal_error
from homeserver.web.request_id import next_request_id

_WRITE_TIMEOUT = 10.0


class Connection(web.RequestHandler):
    """aiohttp's connection, which also knows the task that waits on behalf of its client.

    Handlers run to their end when a client goes away, so that no write is left half done; only those that wait
    for news (`Endpoint.long_poll`) register here and are cancelled.
    """

    __slots__ = ("polling", "stopping")

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self.polling: asyncio.Task[Any] | None = None
        self.stopping = False

    def connection_lost(self, exc: BaseException | None) -> None:
        between_requests = None if self._request_in_progress else self._task_handler
        super().connection_lost(exc)
        if self.polling is not None:
            self.polling.cancel()
        if between_requests is not None:
            between_requests.cancel()  # or it would go on waiting for the rest of a refused body

    def stop_polling(self) -> None:
        """Wake the waiting handler with the news that the server stops."""
        self.stopping = True
        if self.polling is not None:
            self.polling.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not even HTTP, in the same form as everything else."""
        if request.writer.output_size > 0:
            raise ConnectionError("a stream broke off: its connection can only be closed") from exc
        request_id = next_request_id()
        log = structlog.get_logger("http")
        if status < 500:
            error = MatrixError(status, "M_UNKNOWN", "The request is not valid HTTP")
            log.debug("not HTTP", request_id=request_id, cause=str(exc))
        else:
            error = internal_error(request_id)
            log.error("request failed outside its handler", request_id=request_id, exc_info=exc)
        answer = Answer(encode(error_reply(error)), request_id, write_timeout=_WRITE_TIMEOUT)
        answer.force_close()
        return answer


class Connections(web.Server):
    """All connections of one listener."""

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def stop_polling(self) -> None:
        for connection in self.connections:
            assert isinstance(connection, Connection)
            connection.stop_polling()
