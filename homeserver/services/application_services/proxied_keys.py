"""Keys of users that are an application service's alone may lie with it: it is asked for them [MSC3983] [MSC3984].

Only those that say so in their registration are asked. One that fails or is silent is left alone for a while, so it
costs those who ask for its users a short time now and then, and nobody else any.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from attrs import define, field

from homeserver.core.application_services import ApplicationService, ApplicationServices, Proxied
from homeserver.core.device_keys import claimed_key
from homeserver.services.application_services.http import ServiceFault, ServiceHttp, ServiceRefusal
from homeserver.services.checked_keys import Told, TrustedKeys, add_trusted, display_names, trusted_keys
from homeserver.services.device_keys import KeyAnswers, Wanted
from homeserver.services.one_time_keys import Claims, Keys

log = structlog.get_logger(__name__)

SECONDS = 5.0  # people wait to send or read something
REST = 10.0  # seconds for which a service that failed is not asked
UNKNOWN_REST = 300.0  # seconds, where it does not know what we ask
MOST = 20  # questions to one service at a time; beyond, it is not asked
_UNKNOWN = (404, 405, 501)


@define(eq=False)
class ServiceKeys:
    """Asks services; whatever is wrong with an answer, it is none."""

    services: ApplicationServices
    http: ServiceHttp
    seconds: float = SECONDS
    _resting: dict[tuple[str, Proxied], float] = field(factory=dict, init=False)  # until when
    _asked: Counter[str] = field(factory=Counter, init=False)

    def gives(self, user_id: str) -> bool:
        """Is there a service that may have one-time keys of this user's devices?"""
        return self.services.proxy_of(user_id, Proxied.CLAIMS) is not None

    async def claim(self, wanted: Claims) -> Keys:
        """The one-time keys that services give: never the same ones twice is up to them [MSC3983]."""
        shares = self._shares(wanted, Proxied.CLAIMS)
        found: Keys = {}
        for keys in await asyncio.gather(*[self._claim(*share) for share in shares]):
            found |= keys
        return found

    async def add_keys(self, found: KeyAnswers, wanted: Wanted, *, names: bool) -> None:
        """What services say of their users' keys goes before what we know, device by device [MSC3984]."""
        shares = self._shares(wanted, Proxied.QUERIES)
        await asyncio.gather(*[self._query(*share, found, names=names) for share in shares])

    def _shares(
        self, wanted: Mapping[str, Any], what: Proxied
    ) -> list[tuple[ApplicationService, dict[str, Any]]]:
        """What each service is asked."""
        shares: dict[str, tuple[ApplicationService, dict[str, Any]]] = {}
        for user_id, asked in wanted.items():
            service = self.services.proxy_of(user_id, what)
            if service is not None:
                shares.setdefault(service.id, (service, {}))[1][user_id] = asked
        return list(shares.values())

    async def _claim(self, service: ApplicationService, wanted: Claims) -> Keys:
        asked = {
            user_id: {device_id: [algorithm] for device_id, algorithm in devices.items()}
            for user_id, devices in wanted.items()
        }
        answer = await self._ask(service, Proxied.CLAIMS, asked)
        found: Keys = {}
        for user_id, devices in wanted.items():
            for device_id, algorithm in devices.items():
                key = claimed_key(_object(answer, user_id).get(device_id), algorithm)
                if key is not None:
                    found.setdefault(user_id, {})[device_id] = key
        return found

    async def _query(
        self, service: ApplicationService, wanted: Wanted, found: KeyAnswers, *, names: bool
    ) -> None:
        answer = await self._ask(service, Proxied.QUERIES, {user: list(ids) for user, ids in wanted.items()})
        if not answer:
            return
        told = [_told(user_id, nid, answer, found) for nid, user_id in enumerate(wanted)]
        trusted = await asyncio.to_thread(lambda: [trusted_keys(one) for one in told])
        for one, keys in zip(told, trusted, strict=True):
            _merge(found, one, keys, wanted, names=names)

    async def _ask(
        self, service: ApplicationService, what: Proxied, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What it says; nothing if it fails, or is to be left alone."""
        now = asyncio.get_running_loop().time
        if self._resting.get((service.id, what), 0) > now() or self._asked[service.id] >= MOST:
            return {}
        self._asked[service.id] += 1
        try:
            answer = await self.http.ask_keys(service, what.path, body, self.seconds)
        except ServiceFault as fault:
            unknown = isinstance(fault, ServiceRefusal) and fault.status in _UNKNOWN
            self._resting[service.id, what] = now() + (UNKNOWN_REST if unknown else REST)
            log.info("an application service gives no keys", id=service.id, asked=what.path, why=str(fault))
            return {}
        finally:
            self._asked[service.id] -= 1
        return answer if isinstance(answer, dict) else {}


def _told(user_id: str, nid: int, answer: Mapping[str, Any], found: KeyAnswers) -> Told:
    """What the service says of one user. Of cross-signing keys that it does not tell, ours hold."""
    devices = _object(_object(answer, "device_keys"), user_id)
    master, self_signing = (
        _object(answer, name).get(user_id) or orjson.loads(ours.get(user_id, "null"))
        for name, ours in (
            ("master_keys", found.master_keys),
            ("self_signing_keys", found.self_signing_keys),
        )
    )
    return Told(user_id, nid, devices, display_names(devices), master, self_signing)


def _merge(found: KeyAnswers, told: Told, keys: TrustedKeys, wanted: Wanted, *, names: bool) -> None:
    theirs = KeyAnswers()
    add_trusted(theirs, {told.user_nid: told.user_id}, wanted, keys, names=names)
    for user_id, text in theirs.device_keys.items():
        known = orjson.loads(found.device_keys.get(user_id, "{}"))
        found.device_keys[user_id] = orjson.dumps({**known, **orjson.loads(text)}).decode()
    found.master_keys |= theirs.master_keys
    found.self_signing_keys |= theirs.self_signing_keys


def _object(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part of an answer, if it is an object."""
    found = value.get(name)
    return found if isinstance(found, dict) else {}
