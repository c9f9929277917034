"""How many one-time keys a device has left, and which fallback keys are unused: told in every sync answer.

A claim does not wake its device: the message that the claim was made for does. Long polls end with the right counts.
[cs "Extensions to /sync"]
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import orjson
from attrs import define, field, frozen

from homeserver.services.notifier import ActiveUser, Notifier
from storage import one_time_keys
from storage.database import Connection, Database

MAX_DEVICES = 50_000
SIGNED_CURVE25519 = "signed_curve25519"


@frozen
class KeyCounts:
    """Members of a JSON object, and the position of the clock that they are true at."""

    members: bytes
    position: int = 0

    def as_fields(self) -> dict[str, Any]:
        """The same as an object."""
        found: dict[str, Any] = orjson.loads(b"{" + self.members + b"}")
        return found


NO_DEVICE = KeyCounts(b'"device_one_time_keys_count":{},"device_unused_fallback_key_types":[]')


@define(eq=False)
class KeysLeft:
    """Remembers counts until keys come or go."""

    database: Database
    notifier: Notifier
    _counts: OrderedDict[int, KeyCounts] = field(factory=OrderedDict)

    async def of(self, user: ActiveUser, device_nid: int | None) -> KeyCounts:
        """What the device of an active user is told."""
        if device_nid is None:
            return NO_DEVICE
        found = self._counts.get(device_nid)
        if found is not None and found.position >= user.floor and found.position >= user.keys_counted:
            return found
        position = self.notifier.position
        async with self.database.read() as conn:
            counts = await told_counts(conn, device_nid)
            unused = await one_time_keys.unused_fallback(conn, device_nid)
        found = KeyCounts(_members(counts, unused), position)
        self._counts[device_nid] = found
        self._counts.move_to_end(device_nid)
        if len(self._counts) > MAX_DEVICES:
            self._counts.popitem(last=False)
        return found

    async def begin_anew(self, device_nid: int) -> None:
        """Some of the device's keys may have been given out: it is told that there are none, and sends others."""
        async with self.database.writer() as conn:
            await one_time_keys.forget_unclaimed(conn, device_nid)
        self._counts.pop(device_nid, None)


async def told_counts(conn: Connection, device_nid: int) -> dict[str, int]:
    """Unclaimed keys by algorithm; the one that everybody uses is named also when none are left.

    COMPAT(matrix-rust-sdk, until a missing algorithm means none to it)
    """
    return {SIGNED_CURVE25519: 0, **await one_time_keys.counts(conn, device_nid)}


def _members(counts: Mapping[str, int], unused: list[str]) -> bytes:
    told = {"device_one_time_keys_count": counts, "device_unused_fallback_key_types": unused}
    return orjson.dumps(told)[1:-1]
