"""Asks application services for users and aliases of theirs that are not there yet [as "Querying"].

The service makes what it is asked for before it answers, so the caller looks again afterwards. Of several who want the
same, one asks. A service that is down or silent costs a bounded time.
"""

import asyncio

import structlog
from attrs import field, frozen

from homeserver.core.application_services import ApplicationService, ApplicationServices
from homeserver.core.errors import MatrixError
from homeserver.services.application_services.http import (
    Path,
    ServiceFault,
    ServiceHttp,
    ServiceRefusal,
    entity_path,
)
from homeserver.services.shared_work import SharedWork
from storage.accounts import find_account
from storage.database import Database
from storage.directory import find_aliases

log = structlog.get_logger(__name__)

TRIES = 3
BETWEEN = 0.5  # seconds


@frozen
class ServiceQueries:
    """Makes users and aliases appear, if a service wants them to."""

    services: ApplicationServices
    http: ServiceHttp
    database: Database
    seconds: float
    _running: SharedWork[tuple[str, str], bool] = field(factory=SharedWork)

    async def user(self, user_id: str) -> None:
        """Somebody wants to see or invite this user of ours."""
        asked = [one for one in self.services.of_user(user_id) if one.url and user_id != one.sender]
        if not asked:
            return
        async with self.database.read() as conn:
            if await find_account(conn, (user_id,)) is not None:
                return
        await self._ask(asked, entity_path("users", user_id))

    async def alias(self, alias: str) -> None:
        """Somebody wants to know where this alias of ours leads."""
        asked = [one for one in self.services.of_alias(alias) if one.url]
        if not asked:
            return
        async with self.database.read() as conn:
            if await find_aliases(conn, [alias]):
                return
        await self._ask(asked, entity_path("rooms", alias))

    async def _ask(self, services: list[ApplicationService], path: Path) -> None:
        """One after the other, until one says that it is there now."""
        for service in services:
            if await self._running.do((service.id, path.now), lambda: self._has(service, path)):  # noqa: B023
                return

    async def _has(self, service: ApplicationService, path: Path) -> bool:
        """Raises 408 where the service does not answer."""
        try:
            async with asyncio.timeout(self.seconds):
                return await self._insist(service, path)
        except TimeoutError as cause:
            log.info("an application service is silent", id=service.id, asked=path.now)
            raise silent() from cause

    async def _insist(self, service: ApplicationService, path: Path) -> bool:
        for attempt in range(TRIES):
            try:
                await self.http.get(service, path, self.seconds)
            except ServiceRefusal as refusal:
                if refusal.status != 404:
                    log.info("an application service fails", id=service.id, asked=path.now, why=str(refusal))
                return False
            except ServiceFault as fault:
                log.info("an application service fails", id=service.id, asked=path.now, why=str(fault))
                if attempt + 1 < TRIES:
                    await asyncio.sleep(BETWEEN)
            else:
                return True
        raise silent()


def silent() -> MatrixError:
    """[as "Querying"]"""
    return MatrixError(408, "M_UNKNOWN", "The application service that this belongs to does not answer")
