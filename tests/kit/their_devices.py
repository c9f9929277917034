"""A user of another server with devices, and how a client of ours sees them."""

import pytest
from attrs import define, field

from tests.kit.crypto import DeviceCrypto, UserCrypto

USER = "/_matrix/federation/v1/user"


@define(eq=False)
class Their:
    """A user of the peer with devices; the peer answers for it as servers do."""

    peer: object
    user_id: str
    stream_id: int = 1
    devices: dict = field(factory=dict)
    user: UserCrypto = None

    def __attrs_post_init__(self):
        self.user = UserCrypto(self.user_id)
        self.peer.on("GET", f"{USER}/devices/{{userId}}", self.listed)
        self.peer.on("POST", f"{USER}/keys/query", self.queried)

    def device(self, name):
        self.devices[name] = DeviceCrypto(self.user_id, name)
        return self.devices[name].device_keys()

    async def listed(self, call):
        devices = [{"device_id": name, "keys": one.device_keys()} for name, one in self.devices.items()]
        return {"user_id": self.user_id, "stream_id": self.stream_id, "devices": devices, **self.crossed()}

    async def queried(self, call):
        if self.user_id not in call.body["device_keys"]:
            return {"device_keys": {}}
        found = {name: one.device_keys() for name, one in self.devices.items()}
        keys = {f"{name}s": {self.user_id: key} for name, key in self.crossed().items()}
        return {"device_keys": {self.user_id: found}, **keys}

    def crossed(self):
        keys = self.user.upload()
        return {name: keys[name] for name in ("master_key", "self_signing_key")}

    async def tell(self, homing, name, **changed):
        """An m.device_list_update that follows on the last one."""
        before, self.stream_id = self.stream_id, self.stream_id + 1
        content = {
            "user_id": self.user_id,
            "device_id": name,
            "stream_id": self.stream_id,
            "prev_id": [before],
            **({"keys": self.devices[name].device_keys()} if name in self.devices else {"deleted": True}),
            **changed,
        }
        await self.peer.edu(homing.name, "m.device_list_update", content)
        return content


@pytest.fixture
async def their(peer):
    return Their(peer, peer.alice)


async def together(homing, peer, client):
    """A room of ours that the peer's alice is in."""
    room_id = (await client.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    return await peer.join(homing.name, room_id, peer.alice)


async def keys(client, user_id, patience=5000):
    return await client.post("/v3/keys/query", {"device_keys": {user_id: []}, "timeout": patience})


async def names(client, user_id, patience=5000):
    found = await keys(client, user_id, patience)
    assert found["failures"] == {}
    return sorted(found["device_keys"].get(user_id, {}))


async def changed(client, since):
    """What a sync says, that waits for it."""
    answer = await client.get("/v3/sync", since=since, timeout=10_000)
    return answer.get("device_lists", {}).get("changed", []), answer["next_batch"]


async def token(client):
    return (await client.get("/v3/sync"))["next_batch"]
