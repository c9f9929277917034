"""Other servers tell that devices or keys of their users changed [ss "m.device_list_update", "m.signing_key_update"].

Where we have a copy of the user's devices, an update that follows on what the copy has is applied; after a gap the copy
is stale and fetched anew, and where there is none it is fetched (`device_resync`). In any case our users who share a
room with them hear of it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from federation.checked_keys import as_row, checked_device
from homeserver.core.device_keys import checked_cross_key, signed_by_master
from homeserver.core.errors import bad_json, forbidden
from homeserver.core.ids import domain_of, is_user_id
from homeserver.services.device_lists import DeviceLists
from homeserver.web import fields
from storage import e2e_keys, remote_devices
from storage.database import Connection
from storage.devices import record_device_list_change
from storage.e2e_keys import MASTER, SELF_SIGNING, CrossSigningKey
from storage.state_keys import StateKeys, user_key

MAX_PREVIOUS = 100
MAX_DEVICE_ID = 255


@frozen(kw_only=True)
class Update:
    """One m.device_list_update."""

    user: tuple[str, int]
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

    async def device_list_update(self, origin: str, content: Mapping[str, Any]) -> None:
        """A device has come, changed or gone."""
        user = await self._user(origin, content)
        update = _update(content, user or ("", 0))
        if user is None:
            return  # nobody here shares a room with them

        async def job(conn: Connection, position: int) -> bool:
            before = (await remote_devices.lists(conn, [user[1]])).get(user[1])
            if before is not None and not before.stale and update.stream_id <= before.stream_id:
                return False  # a repetition
            await record_device_list_change(conn, position, [user[1]])
            if before is None:  # the clients that ask now shall find a copy
                await remote_devices.want(conn, [user[1]])
                await remote_devices.mark_stale(conn, user[1], position)
                return True
            follows = update.previous and all(one <= before.stream_id for one in update.previous)
            if before.stale or not follows:
                await remote_devices.mark_stale(conn, user[1], position)
                return True
            await _apply(conn, update)
            await remote_devices.step(conn, user[1], update.stream_id)
            return False

        if await self._run(user[1], job):
            self.gap()

    async def signing_key_update(self, origin: str, content: Mapping[str, Any]) -> None:
        """Cross-signing keys are other ones. Raises for keys that nobody may use; then nothing is kept."""
        user = await self._user(origin, content)
        if user is None:
            return
        master = checked_cross_key(fields.required(content, "master_key", dict), MASTER, user[0])
        rows = [as_row(user[1], master)]
        given = fields.optional(content, "self_signing_key", dict)
        if given is not None:
            self_signing = checked_cross_key(given, SELF_SIGNING, user[0])
            rows.append(as_row(user[1], signed_by_master(self_signing, user[0], master.public_key)))

        async def job(conn: Connection, position: int) -> bool:
            copies = await remote_devices.lists(conn, [user[1]])
            if copies:
                await _replace_keys(conn, user[1], rows)
            await record_device_list_change(conn, position, [user[1]])
            return False

        await self._run(user[1], job)

    async def _user(self, origin: str, content: Mapping[str, Any]) -> tuple[str, int] | None:
        """Whom it is about, if one of us shares a room with them. Raises M_FORBIDDEN for who is not theirs."""
        user_id = fields.required(content, "user_id", str)
        if not is_user_id(user_id) or domain_of(user_id) != origin:
            raise forbidden(f"{user_id[:255]!r} is not a user of {origin}")
        async with self.device_lists.database.read() as conn:
            nid = (await self.state_keys.find(conn, [user_key(user_id)])).get(user_key(user_id))
            if nid is None or not await remote_devices.in_sight(conn, [nid]):
                return None
        return user_id, nid

    async def _run(self, user_nid: int, job: Callable[[Connection, int], Any]) -> bool:
        async with self.device_lists.database.read() as conn:
            touched = await self.device_lists.concerned(conn, [user_nid])
        done: bool = await self.device_lists.committer.run(job, touched)
        return done


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


async def _apply(conn: Connection, update: Update) -> None:
    user_nid = update.user[1]
    device = None
    if not update.deleted and update.keys is not None:
        keys = await e2e_keys.cross_signing_keys(conn, [user_nid])
        signer = next((key.public_key for key in keys if key.usage == SELF_SIGNING), None)
        device = checked_device(update.user, update.device_id, update.keys, update.name, signer)
    if device is None:
        await remote_devices.delete_device(conn, user_nid, update.device_id)
    else:
        await remote_devices.put_device(conn, device)


def _update(content: Mapping[str, Any], user: tuple[str, int]) -> Update:
    device_id = fields.required(content, "device_id", str)
    previous = fields.optional(content, "prev_id", list, [])
    if not device_id or len(device_id) > MAX_DEVICE_ID:
        raise bad_json("a device id has 1 to 255 characters")
    if len(previous) > MAX_PREVIOUS or not all(type(one) is int for one in previous):
        raise bad_json("prev_id must be a short list of integers")
    return Update(
        user=user,
        device_id=device_id,
        stream_id=fields.required(content, "stream_id", int),
        previous=tuple(previous),
        deleted=fields.optional(content, "deleted", bool, False),
        keys=fields.optional(content, "keys", dict),
        name=content.get("device_display_name"),
    )
