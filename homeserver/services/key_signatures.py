"""Signatures over keys that are published already, each checked by the key that it names [cs "Cross-signing"].

Over the user's own devices (by the self-signing key) and master key (by devices): everybody sees them. Over the master
keys of others (by the user-signing key): only the signer sees them.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
from attrs import define, field, frozen

from homeserver.core.device_keys import (
    ED25519,
    bare,
    canonical,
    device_key,
    invalid_signature,
    is_signed,
    signatures_of,
    with_signatures,
)
from homeserver.core.errors import MatrixError, invalid_param, not_found
from homeserver.core.ids import is_user_id
from homeserver.services.device_keys import DeviceKeys
from homeserver.services.device_lists import DeviceLists
from homeserver.services.device_owner import DeviceOwner
from homeserver.services.key_uploads import ATTEMPTS, Outrun
from storage import e2e_keys
from storage.committer import Committer, Kind, Touched
from storage.database import Connection
from storage.devices import record_device_list_change
from storage.e2e_keys import MASTER, SELF_SIGNING, USER_SIGNING, UserSignature

PATIENCE = 10.0  # seconds for the server of somebody whose key is signed
MAX_SIGNED = 1000  # keys in one request

Failures = dict[str, dict[str, dict[str, Any]]]  # user id -> key id -> error


@frozen
class OwnKeys:
    """What the signer has published: texts, and the public keys by usage."""

    devices: Mapping[str, str]
    master: str | None
    public: Mapping[str, str]

    def fingerprints(self) -> dict[str, str]:
        """The keys that may sign the master key, by key id."""
        found = {
            f"{ED25519}:{device_id}": device_key(orjson.loads(text), device_id)
            for device_id, text in self.devices.items()
        }
        if MASTER in self.public:
            found[f"{ED25519}:{self.public[MASTER]}"] = self.public[MASTER]
        return {key_id: key for key_id, key in found.items() if key is not None}

    def self_signing(self) -> dict[str, str]:
        """The key that may sign devices, by key id."""
        key = self.public.get(SELF_SIGNING)
        return {} if key is None else {f"{ED25519}:{key}": key}


@define
class Signed:
    """What a request adds: (device id, before, after), (before, after) of the master key, and others' keys."""

    devices: list[tuple[str, str, str]] = field(factory=list)
    master: tuple[str, str] | None = None
    others: list[UserSignature] = field(factory=list)
    failures: Failures = field(factory=dict)

    @property
    def own(self) -> bool:
        """Does it concern everybody who shares a room with the signer?"""
        return bool(self.devices) or self.master is not None


@frozen
class KeySignatures:
    """Takes signatures in."""

    committer: Committer
    device_lists: DeviceLists
    device_keys: DeviceKeys

    async def upload(self, owner: DeviceOwner, signed: Mapping[str, Mapping[str, Any]]) -> Failures:
        """Keep the signatures that hold; gives why others were not kept."""
        if sum(len(keys) for keys in signed.values()) > MAX_SIGNED:
            raise MatrixError(413, "M_TOO_LARGE", "Too many signatures in one request")
        for _ in range(ATTEMPTS):
            with suppress(Outrun):  # read again, and judge by what is kept now
                return await self._attempt(owner, signed)
        raise MatrixError(409, "M_UNKNOWN", "Your keys are being changed by other requests")

    async def _attempt(self, owner: DeviceOwner, signed: Mapping[str, Mapping[str, Any]]) -> Failures:
        found = Signed()
        own = await self._own(owner)
        for key_id, value in signed.get(owner.user_id, {}).items():
            try:
                _sign_own(found, own, owner, (key_id, value))
            except MatrixError as fault:
                _fail(found, (owner.user_id, key_id), fault)
        others = {user: keys for user, keys in signed.items() if user != owner.user_id and is_user_id(user)}
        if others:
            await self._sign_others(found, own, owner, others)
        await self._write(owner, found)
        return found.failures

    async def _own(self, owner: DeviceOwner) -> OwnKeys:
        async with self.device_keys.database.read() as conn:
            devices = await e2e_keys.device_keys(conn, [owner.user_nid])
            crossed = await e2e_keys.cross_signing_keys(conn, [owner.user_nid])
        texts = {key.usage: key.json for key in crossed}
        return OwnKeys(
            {device.device_id: device.json for device in devices},
            texts.get(MASTER),
            {key.usage: key.public_key for key in crossed},
        )

    async def _sign_others(
        self, found: Signed, own: OwnKeys, owner: DeviceOwner, signed: Mapping[str, Mapping[str, Any]]
    ) -> None:
        known = await self.device_keys.query(owner.user_nid, dict.fromkeys(signed, ()), PATIENCE)
        nids = await self.device_keys.state_keys.user_nids(
            user for user in signed if user in known.master_keys
        )
        signer = own.public.get(USER_SIGNING)
        for user_id, keys in signed.items():
            for key_id, value in keys.items():
                try:
                    text = known.master_keys.get(user_id)
                    if text is None or signer is None or key_id not in orjson.loads(text)["keys"].values():
                        raise not_found("There is no such key, or no user-signing key to sign it by")
                    new = _checked(value, text, owner.user_id, {f"{ED25519}:{signer}": signer})
                except MatrixError as fault:
                    _fail(found, (user_id, key_id), fault)
                    continue
                found.others += [
                    UserSignature(nids[user_id], key_id, name, signature) for name, signature in new.items()
                ]

    async def _write(self, owner: DeviceOwner, found: Signed) -> None:
        if not (found.own or found.others):
            return
        user_nid = owner.user_nid
        names, master = [name for name, _, _ in found.devices], found.master is not None
        news = await self.device_lists.about(user_nid, names, cross_signing=master) if found.own else None

        async def job(conn: Connection, position: int) -> None:
            taken = (
                await e2e_keys.replace_device_keys(conn, user_nid, found.devices) if found.devices else set()
            )
            master = found.master is None or await e2e_keys.replace_master_key(conn, user_nid, *found.master)
            if not master or len(taken) < len(found.devices):
                raise Outrun
            if news is not None:
                await news.record(conn, position)
            if found.others:
                await e2e_keys.put_user_signatures(conn, user_nid, found.others)
                targets = list({one.target_nid for one in found.others})
                await record_device_list_change(conn, position, targets, seen_by=user_nid)

        touched = Touched(users=(user_nid,), kind=Kind.DEVICE_LISTS)
        await self.committer.run(job, touched if news is None else news.touched)
        if news is not None:
            self.device_lists.recorded(news)


def _sign_own(found: Signed, own: OwnKeys, owner: DeviceOwner, given: tuple[str, Any]) -> None:
    """A signature of the user over one of the user's own keys."""
    key_id, value = given
    if key_id in own.devices:
        text, allowed = own.devices[key_id], own.self_signing()
    elif own.master is not None and key_id == own.public.get(MASTER):
        text, allowed = own.master, own.fingerprints()
    else:
        raise not_found("There is no such key")
    new = _checked(value, text, owner.user_id, allowed)
    if not new:
        return
    after = canonical(with_signatures(orjson.loads(text), owner.user_id, new))
    if key_id in own.devices:
        found.devices.append((key_id, text, after))
    else:
        found.master = (text, after)


def _checked(value: Any, text: str, signer: str, allowed: Mapping[str, str]) -> dict[str, str]:
    """The signatures in `value` that the kept `text` does not have; all must hold. Raises M_INVALID_SIGNATURE."""
    kept = orjson.loads(text)
    if not isinstance(value, dict) or bare(value) != bare(kept):
        raise invalid_param("The signed key is not the one that was published")
    known = signatures_of(kept, signer)
    new = {key_id: one for key_id, one in signatures_of(value, signer).items() if known.get(key_id) != one}
    for key_id in new:
        if key_id not in allowed or not is_signed(value, signer, key_id, allowed[key_id]):
            raise invalid_signature(f"The signature of {key_id} does not hold")
    if not new and not known:
        raise invalid_signature("There is no signature")
    return new


def _fail(found: Signed, place: tuple[str, str], fault: MatrixError) -> None:
    user_id, key_id = place
    error = {"errcode": fault.errcode, "error": fault.message}
    found.failures.setdefault(user_id, {})[key_id] = error
