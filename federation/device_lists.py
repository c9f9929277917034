"""Other servers tell that devices or keys of their users changed [ss "m.device_list_update", "m.signing_key_update"].

Where we have a copy of the user's devices, an update that follows on what the copy has is applied; after a gap the copy
is stale and fetched anew, and where there is none it is fetched (`device_resync`). In any case our users who share a
room with them hear of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog
from attrs import frozen

from homeserver.core.device_keys import CrossKey, checked_cross_key, signed_by_master
from homeserver.core.errors import MatrixError, bad_json, forbidden
from homeserver.core.ids import domain_of, is_user_id
from homeserver.services.checked_keys import as_row, checked_device
from homeserver.services.device_lists import DeviceLists
from homeserver.web import fields
from storage import e2e_keys, remote_devices
from storage.database import Connection
from storage.devices import record_device_list_change
from storage.e2e_keys import MASTER, SELF_SIGNING, CrossSigningKey
from storage.remote_devices import NOT_YET
from storage.state_keys import StateKeys, user_key

log = structlog.get_logger(__name__)

FEW = 5  # users whose changes come together
MAX_PREVIOUS = 100
MAX_DEVICE_ID = 255


@frozen(kw_only=True)
class Update:
    """One m.device_list_update."""

    user_id: str
    device_id: str
    stream_id: int
    previous: tuple[int, ...]
    deleted: bool
    keys: Any
    name: Any


@frozen
class RemoteDeviceLists:
    """Handlers of the EDUs. `gap` is told when a copy has to be fetched."""

    device_lists: DeviceLists
    state_keys: StateKeys
    gap: Callable[[], None]

    async def device_list_updates(self, origin: str, contents: Sequence[Mapping[str, Any]]) -> None:
        """Devices have come, changed or gone; all that a transaction tells of is one write."""
        updates = [update for content in contents if (update := _update(origin, content)) is not None]

        async def job(conn: Connection, position: int, nids: Mapping[str, int]) -> bool:
            known = [(update, nids[update.user_id]) for update in updates if update.user_id in nids]
            few = len({nid for _, nid in known}) <= FEW
            gaps = [await _take(conn, position, (update, nid), few=few) for update, nid in known]
            return any(gaps)

        if await self._run({update.user_id for update in updates}, job):
            self.gap()

    async def signing_key_updates(self, origin: str, contents: Sequence[Mapping[str, Any]]) -> None:
        """Cross-signing keys are other ones. Of keys that nobody may use nothing is kept."""
        updates = []
        for content in contents:
            if (keys := _cross_keys(origin, content)) is not None:
                updates.append(keys)
            await asyncio.sleep(0)  # a signature has been checked

        async def job(conn: Connection, position: int, nids: Mapping[str, int]) -> bool:
            copies = await remote_devices.lists(conn, nids.values())
            for user_id, keys in updates:
                if user_id in nids and nids[user_id] in copies:
                    await _replace_keys(conn, nids[user_id], [as_row(nids[user_id], key) for key in keys])
            await record_device_list_change(conn, position, list(nids.values()))
            return False

        await self._run({user_id for user_id, _ in updates}, job)

    async def _run(
        self, user_ids: Iterable[str], job: Callable[[Connection, int, Mapping[str, int]], Awaitable[bool]]
    ) -> bool:
        """Write what is told of those users who share a room with one of us."""
        async with self.device_lists.database.read() as conn:
            found = await self.state_keys.find(conn, [user_key(user_id) for user_id in user_ids])
            sight = await remote_devices.in_sight(conn, found.values()) if found else set()
            if not sight:
                return False
            touched = await self.device_lists.concerned(conn, sorted(sight))
        nids = {key[1]: nid for key, nid in found.items() if nid in sight}
        return await self.device_lists.committer.run(
            lambda conn, position: job(conn, position, nids), touched
        )


async def _take(conn: Connection, position: int, told: tuple[Update, int], *, few: bool) -> bool:
    """Apply an update that follows on what the copy has; True if the copy has to be fetched.

    Where there is no copy yet, our users hear of a `few` changes once, with the copy or when it cannot be had; of many
    at once, since they ask for all of them together.
    """
    update, user_nid = told
    before = (await remote_devices.lists(conn, [user_nid])).get(user_nid)
    if before is not None and not before.stale and update.stream_id <= before.stream_id:
        return False  # a repetition
    new = before is None or before.stream_id == NOT_YET
    if not (new and few):
        await record_device_list_change(conn, position, [user_nid])
    if before is None:  # the clients that ask now shall find a copy
        await remote_devices.want(conn, [user_nid])
        await remote_devices.mark_stale(conn, user_nid, position)
        return True
    follows = update.previous and all(one <= before.stream_id for one in update.previous)
    if before.stale or not follows:
        await remote_devices.mark_stale(conn, user_nid, position)
        return True
    await _apply(conn, update, user_nid)
    await remote_devices.step(conn, user_nid, update.stream_id)
    return False


async def replace_keys(conn: Connection, user_nid: int, keys: list[CrossSigningKey]) -> None:
    """Keep these cross-signing keys of a user and no others."""
    await e2e_keys.forget_cross_signing_keys(conn, user_nid, [key.usage for key in keys])
    if keys:
        await e2e_keys.put_cross_signing_keys(conn, keys)


async def _replace_keys(conn: Connection, user_nid: int, keys: list[CrossSigningKey]) -> None:
    """The self-signing key stays where only the master key was told, and is the same."""
    known = {key.usage: key for key in await e2e_keys.cross_signing_keys(conn, [user_nid])}
    told = {key.usage: key for key in keys}
    same = MASTER in known and known[MASTER].public_key == told[MASTER].public_key
    await replace_keys(conn, user_nid, list(({**known, **told} if same else told).values()))


async def _apply(conn: Connection, update: Update, user_nid: int) -> None:
    device = None
    if not update.deleted and update.keys is not None:
        keys = await e2e_keys.cross_signing_keys(conn, [user_nid])
        signer = next((key.public_key for key in keys if key.usage == SELF_SIGNING), None)
        device = checked_device(
            (update.user_id, user_nid), update.device_id, update.keys, update.name, signer
        )
    if device is None:
        await remote_devices.delete_device(conn, user_nid, update.device_id)
    else:
        await remote_devices.put_device(conn, device)


def _update(origin: str, content: Mapping[str, Any]) -> Update | None:
    """What an EDU says; nothing if it is malformed or of somebody else's user."""
    try:
        return _checked_update(origin, content)
    except MatrixError as fault:
        log.info("a change of devices is dropped", origin=origin, reason=fault.message)
        return None


def _checked_update(origin: str, content: Mapping[str, Any]) -> Update:
    user_id = _own_user(origin, content)
    device_id = fields.required(content, "device_id", str)
    previous = fields.optional(content, "prev_id", list, [])
    if not device_id or len(device_id) > MAX_DEVICE_ID:
        raise bad_json("a device id has 1 to 255 characters")
    if len(previous) > MAX_PREVIOUS or not all(type(one) is int for one in previous):
        raise bad_json("prev_id must be a short list of integers")
    return Update(
        user_id=user_id,
        device_id=device_id,
        stream_id=fields.required(content, "stream_id", int),
        previous=tuple(previous),
        deleted=fields.optional(content, "deleted", bool, False),
        keys=fields.optional(content, "keys", dict),
        name=content.get("device_display_name"),
    )


def _cross_keys(origin: str, content: Mapping[str, Any]) -> tuple[str, list[CrossKey]] | None:
    """Whose keys are other ones, and which; nothing if there is anything wrong with them."""
    try:
        user_id = _own_user(origin, content)
        master = checked_cross_key(fields.required(content, "master_key", dict), MASTER, user_id)
        given = fields.optional(content, "self_signing_key", dict)
        if given is None:
            return user_id, [master]
        self_signing = checked_cross_key(given, SELF_SIGNING, user_id)
        return user_id, [master, signed_by_master(self_signing, user_id, master.public_key)]
    except MatrixError as fault:
        log.info("a change of cross-signing keys is dropped", origin=origin, reason=fault.message)
        return None


def _own_user(origin: str, content: Mapping[str, Any]) -> str:
    user_id = fields.required(content, "user_id", str)
    if not is_user_id(user_id) or domain_of(user_id) != origin:
        raise forbidden(f"{user_id[:255]!r} is not a user of {origin}")
    return user_id
