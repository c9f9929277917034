"""Asking other servers for keys: their own, other servers', and their users'.

[ss "Retrieving server keys", "End-to-End Encryption"]
"""

from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from federation.client import shapes
from federation.client.paths import federation_path
from federation.client.shapes import JsonObject
from federation.protocol import key_queries, key_responses
from federation.transport.requests import NORMAL, QUICK, PeerRequests


@frozen
class UserDevices:
    """A user's devices, with the number of the change that they are at."""

    stream_id: int
    devices: list[JsonObject]
    master_key: JsonObject | None
    self_signing_key: JsonObject | None


@frozen
class QueriedKeys:
    """Device keys by user and device, cross-signing keys by user."""

    device_keys: dict[str, JsonObject]
    master_keys: dict[str, JsonObject]
    self_signing_keys: dict[str, JsonObject]


@frozen
class KeyRequests:
    """Answers about servers' keys come as bytes, for `federation.protocol` to check."""

    requests: PeerRequests

    async def server_keys(self, destination: str) -> bytes:
        """The peer's own keys, for `key_responses.parse`.

        Asked for also while the peer is left alone: without them we could not believe it that it is up again, and the
        key ring has a restraint of its own.
        """
        patience = evolve(QUICK, max_bytes=key_responses.MAX_BYTES)
        return await self.requests.get_bytes(
            destination, "/_matrix/key/v2/server", patience=patience, even_if_down=True
        )

    async def notary(self, destination: str, wanted: key_queries.Query) -> bytes:
        """What a notary knows of other servers' keys, for `key_queries.parse_answer`."""
        patience = evolve(NORMAL, max_bytes=key_queries.MAX_BYTES)
        body = key_queries.build_query(wanted)
        return await self.requests.post_bytes(destination, "/_matrix/key/v2/query", body, patience=patience)

    async def user_devices(self, destination: str, user_id: str) -> UserDevices:
        """All devices of a user of the peer."""
        path = federation_path("v1", "user", "devices", user_id)
        answer = await self.requests.get(destination, path)
        if answer.get("user_id") != user_id:
            raise shapes.unreadable(destination, "devices of another user")
        return UserDevices(
            shapes.integer(destination, answer, "stream_id"),
            shapes.objects(destination, answer, "devices"),
            _optional(answer, "master_key"),
            _optional(answer, "self_signing_key"),
        )

    async def keys_query(self, destination: str, device_keys: Mapping[str, list[str]]) -> QueriedKeys:
        """Device keys of users of the peer; an empty list means all of a user's devices."""
        path = federation_path("v1", "user", "keys", "query")
        answer = await self.requests.post(destination, path, {"device_keys": dict(device_keys)})
        return QueriedKeys(
            shapes.objects_by_name(destination, answer, "device_keys"),
            shapes.objects_by_name(destination, answer, "master_keys"),
            shapes.objects_by_name(destination, answer, "self_signing_keys"),
        )

    async def keys_claim(
        self, destination: str, one_time_keys: Mapping[str, Mapping[str, str]]
    ) -> dict[str, JsonObject]:
        """One-time keys: user to device to key id to key. What is claimed is gone, so this is never repeated."""
        path = federation_path("v1", "user", "keys", "claim")
        asked: dict[str, Any] = {user: dict(devices) for user, devices in one_time_keys.items()}
        answer = await self.requests.post(destination, path, {"one_time_keys": asked})
        return shapes.objects_by_name(destination, answer, "one_time_keys")


def _optional(answer: Mapping[str, Any], name: str) -> JsonObject | None:
    found = answer.get(name)
    return found if isinstance(found, dict) else None
