"""Drives discovery: asks what `federation.protocol.discovery` wants to know, and remembers where names led."""

import asyncio
import random
import time
from collections.abc import Callable

from attrs import define, field

from federation.protocol.discovery import (
    AskAddresses,
    AskService,
    AskWellKnown,
    Route,
    Step,
    Unreachable,
    begin,
)
from federation.transport.delegations import Delegations
from federation.transport.name_servers import LookupFailed, NameServers
from federation.transport.remembered import Remembered

_MOST = 10_000  # routes remembered
_LEAST_LIFETIME = 60.0  # seconds to remember a route, whatever DNS says
_MOST_LIFETIME = 3600.0
_WHOLE = 25.0  # seconds for all look-ups of one name


class NoRoute(Exception):
    """The server name leads nowhere just now; the message says why."""


@define(eq=False)
class Resolver:
    """Server names to routes. Who asks for the same name meanwhile shares one attempt."""

    name_servers: NameServers
    delegations: Delegations
    clock: Callable[[], float] = time.time
    _routes: Remembered[str, Route] = field(factory=lambda: Remembered(_MOST), init=False)
    _running: dict[str, "asyncio.Task[Route]"] = field(factory=dict, init=False)

    async def route(self, server_name: str) -> Route:
        """Where requests to the server go. Raises NoRoute."""
        known = self._routes.get(server_name, self.clock())
        if known is not None:
            return known
        task = self._running.get(server_name)
        if task is None:
            task = self._running[server_name] = asyncio.create_task(self._resolve(server_name))
            task.add_done_callback(lambda done: self._ended(server_name, done))
        return await asyncio.shield(task)

    def forget(self, server_name: str) -> None:
        """Look the name up anew next time: nobody answered where it led."""
        self._routes.drop(server_name)

    async def close(self) -> None:
        """End what still runs."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, server_name: str, task: "asyncio.Task[Route]") -> None:
        self._running.pop(server_name, None)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone away before it failed

    async def _resolve(self, server_name: str) -> Route:
        try:
            async with asyncio.timeout(_WHOLE):
                route, lifetime = await self._walk(server_name)
        except LookupFailed as cause:
            raise NoRoute(str(cause)) from cause
        except TimeoutError as cause:
            raise NoRoute("the name could not be resolved in time") from cause
        self._routes.put(server_name, route, self.clock() + lifetime)
        return route

    async def _walk(self, server_name: str) -> tuple[Route, float]:
        """Step by step to the end; also for how many seconds to believe it."""
        step, lifetime = begin(server_name), _MOST_LIFETIME
        while not isinstance(step, Route | Unreachable):
            step, ttl = await self._answered(step)
            lifetime = min(lifetime, ttl)
        if isinstance(step, Unreachable):
            raise NoRoute(step.reason)
        return step, max(lifetime, _LEAST_LIFETIME)

    async def _answered(self, step: AskWellKnown | AskService | AskAddresses) -> tuple[Step, float]:
        if isinstance(step, AskWellKnown):
            return step.answered(await self.delegations.server_of(step.hostname)), _MOST_LIFETIME
        if isinstance(step, AskService):
            services = await self.name_servers.services(step.name)
            return step.answered(services.records, lambda most: random.randint(0, most)), services.ttl  # noqa: S311 (spreads load)
        hosts = list(dict.fromkeys(target.host for target in step.targets))
        answers = await asyncio.gather(
            *(self.name_servers.addresses(host) for host in hosts), return_exceptions=True
        )
        faults = [one for one in answers if isinstance(one, BaseException)]
        found = {h: one for h, one in zip(hosts, answers, strict=True) if not isinstance(one, BaseException)}
        if faults and not any(one.found for one in found.values()):
            raise faults[0]
        ttl = min((one.ttl for one in found.values()), default=_LEAST_LIFETIME)
        return step.answered({host: one.found for host, one in found.items()}), ttl
