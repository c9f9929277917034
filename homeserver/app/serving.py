"""The life of a serving process: check the database, build the server, serve until told to stop."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog

from homeserver.app.assemble import assemble
from homeserver.app.config import Config
from homeserver.app.database_place import DatabasePlace
from homeserver.app.database_setup import prepare_database
from homeserver.app.garbage import settle, spare
from homeserver.app.key_files import UnusableKeyFile
from homeserver.app.options import Failure
from homeserver.app.running import announced
from storage.database import Database, PoolSizes

log = structlog.get_logger(__name__)
_LOOK_AFTER_DATABASE = 1.0


class Server(Protocol):
    """What `assemble` builds."""

    async def start(self) -> int: ...
    async def stop(self) -> None: ...


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end, on uvloop where there is one."""
    spare()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main)


async def serve(config: Config, place: DatabasePlace) -> None:
    """Serve until SIGTERM or SIGINT. Another signal cuts short what the first one let finish."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await prepare_database(place.url, log.info)
        await _serve_on(config, place)
    except asyncio.CancelledError:
        log.info("stopped")
    except UnusableKeyFile as cause:
        raise Failure(str(cause)) from cause


async def _serve_on(config: Config, place: DatabasePlace) -> None:
    sizes = PoolSizes(
        writers=config.database.writers,
        readers=config.database.readers,
        acquire_timeout=config.database.acquire_timeout,
        statement_timeout=config.database.statement_timeout,
    )
    database = Database(url=place.url, sizes=sizes)
    await database.connect()
    try:
        server: Server = await assemble(config, database)
        try:
            await _start(server, config)
            settle()
            with announced(config):
                await _look_after(place)
        finally:
            await server.stop()
    finally:
        await database.close()


async def _start(server: Server, config: Config) -> None:
    try:
        await server.start()
    except OSError as cause:
        wanted = " or ".join(filter(None, (config.server.listen, config.federation.listen)))
        raise Failure(f"cannot listen on {wanted}: {cause.strerror or cause}") from cause


async def _look_after(place: DatabasePlace) -> None:
    """For ever, or until the embedded database is gone: without it nothing can be served."""
    while not place.ended():  # noqa: ASYNC110 (a process has no event to await)
        await asyncio.sleep(_LOOK_AFTER_DATABASE)
    raise Failure(
        "the embedded database ended by itself: its log is in the folder pg…/log of the data folder"
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # there is no wheel for every platform
        return None
    return uvloop.new_event_loop
