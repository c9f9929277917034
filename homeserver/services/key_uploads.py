"""A device publishes its keys: identity, one-time and fallback keys, all of one request or none [cs "Uploading keys"].

Checks come before the write. What another request may change meanwhile is decided by the statements.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson
from attrs import frozen

from homeserver.core.device_keys import (
    canonical,
    check_one_time_key,
    checked_device_keys,
    device_key,
    same_identity,
    signatures_of,
    with_signatures,
)
from homeserver.core.errors import MatrixError, invalid_param
from homeserver.services.device_lists import DeviceLists
from homeserver.services.device_owner import DeviceOwner
from homeserver.services.key_counts import told_counts
from homeserver.services.now import now_ms
from storage import e2e_keys, one_time_keys
from storage.committer import Committer, Kind, Touched
from storage.database import Connection, Database
from storage.one_time_keys import UploadedKey

MAX_UNCLAIMED = 5000  # one-time keys of a device
CLAIMED_KEPT = 7 * 24 * 3600 * 1000  # ms; for as long a client may repeat an upload whose answer it never got
ATTEMPTS = 3  # a client's first upload and its signature of itself are often on their way at the same time
INLINE = 8  # signatures that are checked on the loop: fewer are not worth a thread


@frozen(kw_only=True)
class Upload:
    """What a device publishes."""

    device_keys: Mapping[str, Any] | None = None
    one_time_keys: Mapping[str, Any]
    fallback_keys: Mapping[str, Any]


@frozen
class Identity:
    """A device's identity keys: what is kept, and what shall be."""

    before: str | None
    after: str | None
    public_key: str | None
    replaced: bool = False  # by another one, under which nothing of the former can be used

    @property
    def changed(self) -> bool:
        """Is there anything to write?"""
        return self.after is not None and self.after != self.before


class Outrun(Exception):
    """Another request has changed the device's keys since they were read."""


@frozen
class KeyUploads:
    """Takes keys in."""

    database: Database
    committer: Committer
    device_lists: DeviceLists

    async def upload(self, owner: DeviceOwner, upload: Upload) -> dict[str, int]:
        """Keep the keys; gives how many one-time keys there are now."""
        for _ in range(ATTEMPTS):
            with suppress(Outrun):  # read again, and judge by what is kept now
                return await self._attempt(owner, upload)
        raise MatrixError(409, "M_UNKNOWN", "The device's keys are being changed by other requests")

    async def _attempt(self, owner: DeviceOwner, upload: Upload) -> dict[str, int]:
        async with self.database.read() as conn:
            before = await e2e_keys.keys_of_device(conn, owner.device_nid)
            crossed = await e2e_keys.cross_signing_keys(conn, [owner.user_nid])
            counts = await told_counts(conn, owner.device_nid)
        publics = {key.usage: key.public_key for key in crossed}
        if owner.device_id in publics.values():  # [cs "Key and signature security"]
            raise MatrixError(403, "M_FORBIDDEN", "The device has the name of a cross-signing key")
        identity = _identity(owner, upload.device_keys, before, publics.get(e2e_keys.SELF_SIGNING))
        fresh = await _checked(owner, upload.one_time_keys, identity.public_key)
        fallback = await _checked(owner, upload.fallback_keys, identity.public_key)
        if len({key.algorithm for key in fallback}) < len(fallback):
            raise invalid_param("There is one fallback key for each algorithm")
        if sum(counts.values()) + len(fresh) > MAX_UNCLAIMED:
            raise MatrixError(413, "M_TOO_LARGE", "The device has too many one-time keys")
        if not (identity.changed or fresh or fallback):
            return counts
        return await self._write(owner, identity, fresh, fallback)

    async def _write(
        self,
        owner: DeviceOwner,
        identity: Identity,
        fresh: Sequence[UploadedKey],
        fallback: Sequence[UploadedKey],
    ) -> dict[str, int]:
        if not identity.replaced:
            await self._refuse_taken(owner, fresh)
        news = await self.device_lists.about(owner.user_nid, [owner.device_id]) if identity.changed else None

        async def job(conn: Connection, position: int) -> dict[str, int]:
            if news is not None and identity.after is not None:
                device = (owner.user_nid, owner.device_nid)
                kept = await e2e_keys.put_device_keys(
                    conn, device, identity.after, instead_of=identity.before
                )
                if not kept:
                    raise Outrun
                await news.record(conn, position)
            if identity.replaced:
                await one_time_keys.forget_unclaimed(conn, owner.device_nid)
            if fresh:
                await _prepare(conn, owner.device_nid, fresh)
                _refuse(await one_time_keys.add(conn, owner.device_nid, fresh))
            if fallback:
                await one_time_keys.put_fallback(conn, owner.device_nid, fallback)
            return await told_counts(conn, owner.device_nid)

        if news is None:
            return await self.committer.run(job, Touched(users=(owner.user_nid,), kind=Kind.KEY_COUNTS))
        counts = await self.committer.run(job, news.touched)
        self.device_lists.recorded(news)
        return counts

    async def _refuse_taken(self, owner: DeviceOwner, fresh: Sequence[UploadedKey]) -> None:
        """Ahead of the shared transaction, which a refusal would take apart."""
        if fresh:
            async with self.database.read() as conn:
                _refuse(await one_time_keys.taken(conn, owner.device_nid, fresh))


async def _prepare(conn: Connection, device_nid: int, fresh: Sequence[UploadedKey]) -> None:
    algorithms = {key.algorithm for key in fresh}
    now = now_ms()
    await one_time_keys.prepare(conn, device_nid, algorithms, now=now, before=now - CLAIMED_KEPT)


def _identity(
    owner: DeviceOwner, given: Mapping[str, Any] | None, before: str | None, self_signing: str | None
) -> Identity:
    """What the device's keys shall be.

    A client that lost its keys but kept its token starts anew with others. Who knows the device is warned by that.
    """
    known = orjson.loads(before) if before is not None else {}
    if given is None:
        return Identity(before, None, device_key(known, owner.device_id))
    kept = checked_device_keys(given, owner.user_id, owner.device_id, self_signing, published=True)
    earlier = signatures_of(known, owner.user_id)
    if earlier and _bare_equal(known, kept):
        kept = with_signatures(kept, owner.user_id, {**earlier, **signatures_of(kept, owner.user_id)})
    replaced = not same_identity(known, kept)
    return Identity(before, canonical(kept), device_key(kept, owner.device_id), replaced)


def _bare_equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return {**one, "signatures": None} == {**other, "signatures": None}


async def _checked(owner: DeviceOwner, keys: Mapping[str, Any], public_key: str | None) -> list[UploadedKey]:
    """One-time or fallback keys that may be kept."""

    def check() -> list[UploadedKey]:
        found = []
        for name, value in keys.items():
            text = canonical(value)
            check_one_time_key(name, value, owner.user_id, owner.device_id, public_key)
            algorithm, _, key_id = name.partition(":")
            found.append(UploadedKey(algorithm, key_id, text))
        return found

    return check() if len(keys) <= INLINE else await asyncio.to_thread(check)


def _refuse(taken: Sequence[UploadedKey]) -> None:
    if taken:
        name = f"{taken[0].algorithm}:{taken[0].key_id}"
        # COMPAT(matrix-rust-sdk, for as long as it looks for these words)
        raise invalid_param(f"One time key {name} already exists with another content")
