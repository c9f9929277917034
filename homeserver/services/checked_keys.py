"""Keys that another server, or an application service, told of its users: what of them may be kept and handed on.

Whatever is not what it should be, or is not signed by whom it should be, is left out: one bad device spoils no other.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from homeserver.core.device_keys import (
    CrossKey,
    canonical,
    checked_cross_key,
    checked_device_keys,
    device_key,
    signed_by_devices,
    signed_by_master,
)
from homeserver.core.errors import MatrixError
from homeserver.services.device_keys import KeyAnswers, Wanted, described
from storage.e2e_keys import MASTER, SELF_SIGNING, CrossSigningKey
from storage.remote_devices import RemoteDevice

MAX_DEVICES = 10_000  # of one user
MAX_NAME = 100
_SUBSTANCE = ("user_id", "device_id", "algorithms", "keys")


@frozen
class TrustedKeys:
    """What holds of a user's keys."""

    devices: tuple[RemoteDevice, ...]
    cross_signing: tuple[CrossSigningKey, ...]


@frozen
class Told:
    """What a server said of one user: device id -> keys, and display names."""

    user_id: str
    user_nid: int
    devices: Mapping[str, Any]
    names: Mapping[str, Any]
    master_key: Any = None
    self_signing_key: Any = None


def trusted_keys(told: Told) -> TrustedKeys:
    """Check all of it: some 0.1 ms a signature, so many users are a thread's work."""
    master = _shaped(told.master_key, MASTER, told.user_id)
    self_signing = _shaped(told.self_signing_key, SELF_SIGNING, told.user_id)
    if self_signing is not None:
        self_signing = _signed(self_signing, told.user_id, master)
    signer = None if self_signing is None else self_signing.public_key
    devices = list(_devices(told, signer))
    if master is not None:
        prints = [(device_id, _fingerprint(told, device_id)) for device_id in told.devices]
        master = signed_by_devices(master, told.user_id, prints)
    kept = [key for key in (master, self_signing) if key is not None]
    return TrustedKeys(tuple(devices), tuple(as_row(told.user_nid, key) for key in kept))


def display_names(devices: Mapping[str, Any]) -> dict[str, Any]:
    """device id -> the name that its keys come with."""
    unsigned = {name: keys.get("unsigned") for name, keys in devices.items() if isinstance(keys, dict)}
    return {
        name: said.get("device_display_name") for name, said in unsigned.items() if isinstance(said, dict)
    }


def add_trusted(
    found: KeyAnswers, users: Mapping[int, str], wanted: Wanted, trusted: TrustedKeys, *, names: bool = True
) -> None:
    """Put what holds into an answer; `users` by their numbers; `names`: with those of devices."""
    devices: dict[str, dict[str, tuple[str, str | None]]] = {}
    for device in trusted.devices:
        user_id = users[device.user_nid]
        if not wanted[user_id] or device.device_id in wanted[user_id]:
            shown = device.display_name if names else None
            devices.setdefault(user_id, {})[device.device_id] = (device.json, shown)
    found.device_keys |= {user_id: described(named) for user_id, named in devices.items()}
    for key in trusted.cross_signing:
        texts = found.master_keys if key.usage == MASTER else found.self_signing_keys
        texts[users[key.user_nid]] = key.json


def as_row(user_nid: int, key: CrossKey) -> CrossSigningKey:
    """A checked key as it is kept."""
    return CrossSigningKey(user_nid, key.usage, key.public_key, canonical(key.value))


def checked_device(
    user: tuple[str, int], device_id: str, keys: Any, name: Any, self_signing_key: str | None
) -> RemoteDevice | None:
    """One device of (user id, number); None where it cannot be kept."""
    if not device_id or len(device_id) > 255 or "\0" in device_id or not isinstance(keys, dict):
        return None
    user_id, user_nid = user
    if keys.keys().isdisjoint(_SUBSTANCE):
        # COMPAT(SyTest, until its servers tell keys): a device of which nothing is told is one without keys.
        keys = {"user_id": user_id, "device_id": device_id, "algorithms": [], "keys": {}, "signatures": {}}
    try:
        text = canonical(checked_device_keys(keys, user_id, device_id, self_signing_key))
    except MatrixError:
        return None
    shown = name[:MAX_NAME].replace("\0", "") if isinstance(name, str) else None
    return RemoteDevice(user_nid, device_id, shown, text)


def _devices(told: Told, self_signing_key: str | None) -> Iterable[RemoteDevice]:
    for device_id, keys in list(told.devices.items())[:MAX_DEVICES]:
        user = (told.user_id, told.user_nid)
        device = checked_device(user, device_id, keys, told.names.get(device_id), self_signing_key)
        if device is not None:
            yield device


def _fingerprint(told: Told, device_id: str) -> str | None:
    keys = told.devices[device_id]
    return device_key(keys, device_id) if isinstance(keys, dict) else None


def _shaped(value: Any, usage: str, user_id: str) -> CrossKey | None:
    if not isinstance(value, dict):
        return None
    try:
        return checked_cross_key(value, usage, user_id)
    except MatrixError:
        return None


def _signed(key: CrossKey, user_id: str, master: CrossKey | None) -> CrossKey | None:
    if master is None:
        return None
    try:
        return signed_by_master(key, user_id, master.public_key)
    except MatrixError:
        return None
