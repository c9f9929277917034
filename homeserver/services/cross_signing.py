"""A user's cross-signing keys: published, and replaced only by who proves to be the user [cs "Cross-signing"].

Theory of operation. `plan` checks an upload against what is kept and says whether it needs a proof: it does not when
there is no master key yet, or when nothing in it is new. `publish` writes the plan if what it was made on still stands.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from attrs import frozen

from homeserver.core.device_keys import (
    CrossKey,
    bare,
    canonical,
    checked_cross_key,
    device_key,
    signatures_of,
    signed_by_devices,
    signed_by_master,
    with_signatures,
)
from homeserver.core.errors import MatrixError, bad_json, forbidden, invalid_param, missing_param
from homeserver.services.device_lists import DeviceLists
from homeserver.services.device_owner import DeviceOwner
from storage import devices, e2e_keys
from storage.committer import Committer
from storage.database import Connection, Database
from storage.e2e_keys import MASTER, SELF_SIGNING, USER_SIGNING, CrossSigningKey

USAGES = {"master_key": MASTER, "self_signing_key": SELF_SIGNING, "user_signing_key": USER_SIGNING}


@frozen
class Plan:
    """Keys that may be written. `before`: what was kept when they were checked."""

    user_nid: int
    before: Mapping[str, CrossSigningKey]
    keys: Sequence[CrossKey]

    @property
    def new_keys(self) -> bool:
        """Is one of them not the one that is kept?"""
        kept = {usage: key.public_key for usage, key in self.before.items()}
        return any(kept.get(key.usage) != key.public_key for key in self.keys)

    @property
    def needs_proof(self) -> bool:
        """Must the user authenticate once more? [cs "POST /keys/device_signing/upload"]"""
        return MASTER in self.before and self.new_keys

    @property
    def new_master(self) -> bool:
        """Do all former keys lose their meaning?"""
        kept = self.before.get(MASTER)
        return any(
            key.usage == MASTER and (kept is None or kept.public_key != key.public_key) for key in self.keys
        )

    def rows(self) -> list[CrossSigningKey]:
        """What is to be written: what is the same already is not."""
        rows = [
            CrossSigningKey(self.user_nid, key.usage, key.public_key, canonical(key.value))
            for key in self.keys
        ]
        return [row for row in rows if self.before.get(row.usage) != row]


@frozen
class CrossSigning:
    """Takes cross-signing keys in."""

    database: Database
    committer: Committer
    device_lists: DeviceLists

    async def plan(self, owner: DeviceOwner, body: Mapping[str, Any]) -> Plan:
        """Check an upload. Raises M_MISSING_PARAM, M_INVALID_PARAM, M_INVALID_SIGNATURE, M_FORBIDDEN."""
        given = _given(body, owner.user_id)
        async with self.database.read() as conn:
            kept = await e2e_keys.cross_signing_keys(conn, [owner.user_nid])
            names = {device.device_id for device in await devices.devices_of(conn, owner.user_nid)}
            keys = await e2e_keys.device_keys(conn, [owner.user_nid])
        before = {key.usage: key for key in kept}
        master = given[MASTER].public_key if MASTER in given else None
        if master is None and MASTER in before:
            master = before[MASTER].public_key
        if master is None:
            raise missing_param("master_key")
        if any(key.public_key in names for key in given.values()):
            raise forbidden("A cross-signing key has the name of one of your devices")
        fingerprints = [(key.device_id, device_key(orjson.loads(key.json), key.device_id)) for key in keys]
        checked = [
            signed_by_devices(key, owner.user_id, fingerprints)
            if usage == MASTER
            else signed_by_master(key, owner.user_id, master)
            for usage, key in given.items()
        ]
        return Plan(owner.user_nid, before, [_merged(key, before.get(key.usage), owner) for key in checked])

    async def publish(self, plan: Plan) -> None:
        """Write the keys, and tell everybody who shares a room."""
        rows = plan.rows()
        if not rows:
            return
        shared = any(row.usage != USER_SIGNING for row in rows)  # the user-signing key is the user's affair
        news = await self.device_lists.about(plan.user_nid, cross_signing=shared)

        async def job(conn: Connection, position: int) -> None:
            now = await e2e_keys.cross_signing_keys(conn, [plan.user_nid])
            if {key.usage: key for key in now} != plan.before:
                raise MatrixError(409, "M_UNKNOWN", "Your keys have been changed meanwhile; please try again")
            await e2e_keys.put_cross_signing_keys(conn, rows)
            if plan.new_master:
                await e2e_keys.forget_cross_signing_keys(
                    conn, plan.user_nid, [key.usage for key in plan.keys]
                )
            await news.record(conn, position)

        await self.committer.run(job, news.touched)
        self.device_lists.recorded(news)


def _given(body: Mapping[str, Any], user_id: str) -> dict[str, CrossKey]:
    found = {}
    for name, usage in USAGES.items():
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, dict):
            raise bad_json(f"{name} must be an object")
        found[usage] = checked_cross_key(value, usage, user_id)
    if not found:
        raise missing_param("master_key")
    if len({key.public_key for key in found.values()}) < len(found):
        raise invalid_param("Each cross-signing key must be another one")
    return found


def _merged(key: CrossKey, kept: CrossSigningKey | None, owner: DeviceOwner) -> CrossKey:
    """The same key once more keeps the signatures that it has collected."""
    if kept is None or kept.public_key != key.public_key:
        return key
    known = orjson.loads(kept.json)
    if bare(known) != bare(key.value):
        return key
    earlier = signatures_of(known, owner.user_id)
    if not earlier:
        return key
    signatures = {**earlier, **signatures_of(key.value, owner.user_id)}
    return CrossKey(key.usage, key.public_key, with_signatures(key.value, owner.user_id, signatures))
