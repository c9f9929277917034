"""Third-party networks: what all application services together say about them [as "Third-party networks"].

A service that fails or answers nonsense is left out; others' answers stand.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from attrs import define, field

from homeserver.core.application_services import ApplicationService, ApplicationServices
from homeserver.services.application_services.http import Path, ServiceFault, ServiceHttp, network_path

log = structlog.get_logger(__name__)

KEPT = 600.0  # seconds that what a service says about a protocol holds
_PROTOCOL = {"user_fields": list, "location_fields": list, "instances": list}
_ENTRIES = {"user": "userid", "location": "alias"}

Answer = dict[str, Any]


@define(eq=False)
class Networks:
    """Asks, merges, and remembers protocols for some minutes."""

    services: ApplicationServices
    http: ServiceHttp
    seconds: float
    _protocols: dict[tuple[str, str], tuple[float, Answer]] = field(factory=dict)  # as many as are registered

    async def protocols(self) -> dict[str, Answer]:
        """All protocols that some service knows something about."""
        names = sorted({name for one in self.services.all for name in one.wants.protocols})
        found = await asyncio.gather(*(self.protocol(name) for name in names))
        return {name: answer for name, answer in zip(names, found, strict=True) if answer is not None}

    async def protocol(self, name: str) -> Answer | None:
        """What one is like, with the instances of all services that know it."""
        services = [one for one in self.services.of_protocol(name) if one.url]
        found = await asyncio.gather(*(self._protocol(one, name) for one in services))
        answers = [answer for answer in found if answer is not None]
        if not answers:
            return None
        instances = [instance for answer in answers for instance in answer["instances"]]
        return {**answers[0], "instances": instances}

    async def search(self, kind: str, protocol: str, fields: Mapping[str, str]) -> list[Answer]:
        """Users or locations of a network that have these fields."""
        return await self._entries(
            kind, self.services.of_protocol(protocol), network_path(kind, protocol), fields
        )

    async def of(self, kind: str, entity: str) -> list[Answer]:
        """What a user id (or an alias) stands for on any network."""
        known = [one for one in self.services.all if one.wants.protocols]
        return await self._entries(kind, known, network_path(kind), {_ENTRIES[kind]: entity})

    async def _protocol(self, service: ApplicationService, name: str) -> Answer | None:
        until, known = self._protocols.get((service.id, name), (0.0, {}))
        if until > time.monotonic():
            return known
        answer = await self._ask(service, network_path("protocol", name))
        if not isinstance(answer, dict) or not all(
            isinstance(answer.get(part), kind) for part, kind in _PROTOCOL.items()
        ):
            return None
        told = {**answer, "instances": _instances(service, answer["instances"])}
        self._protocols[service.id, name] = (time.monotonic() + KEPT, told)
        return told

    async def _entries(
        self, kind: str, services: Iterable[ApplicationService], path: Path, query: Mapping[str, str]
    ) -> list[Answer]:
        asked = [self._ask(one, path, query) for one in services if one.url]
        answers = await asyncio.gather(*asked)
        return [
            entry
            for answer in answers
            if isinstance(answer, list)
            for entry in answer
            if _is_entry(entry, _ENTRIES[kind])
        ]

    async def _ask(
        self, service: ApplicationService, path: Path, query: Mapping[str, str] | None = None
    ) -> Any:
        """None where it fails."""
        try:
            return await self.http.get(service, path, self.seconds, query)
        except ServiceFault as fault:
            log.info("an application service fails", id=service.id, asked=path.now, why=str(fault))
            return None


def instance_id(service_id: str, network_id: str) -> str:
    """By which clients ask for the rooms of one network [as "Published room directories"]."""
    return f"{service_id}|{network_id}"


def _instances(service: ApplicationService, told: Sequence[Any]) -> list[Answer]:
    """Those that are some, with the name under which clients find their rooms [cs "Third-party Networks"]."""
    made = []
    for instance in told:
        if not isinstance(instance, dict):
            continue
        network_id = instance.get("network_id")
        named = {"instance_id": instance_id(service.id, network_id)} if isinstance(network_id, str) else {}
        made.append({**instance, **named})
    return made


def _is_entry(entry: Any, name: str) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get(name), str)
        and isinstance(entry.get("protocol"), str)
        and isinstance(entry.get("fields"), dict)
    )
