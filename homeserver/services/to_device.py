"""Messages from device to device: each is delivered once, in order, or waits for its server.

A request and all it leads to is one write: the queues of our devices, the EDUs for other servers, and the note that
the transaction has been done. [cs "Send-to-Device messaging", ss "Send-to-device messaging"]
"""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import structlog
from attrs import frozen

from homeserver.core import canonical_json
from homeserver.core.errors import MatrixError, bad_json
from homeserver.core.ids import domain_of, is_server_name, is_user_id
from homeserver.services.now import now_ms
from storage import outbound_to_device, to_device
from storage.committer import Committer, Kind, Touched
from storage.database import Connection, Database
from storage.state_keys import StateKeys, user_key
from storage.to_device import Addressed

log = structlog.get_logger(__name__)

MAX_CONTENT = 65_536  # bytes of one message, as of an event [cs "Size limits"]
MAX_EDU = 65_536  # bytes of messages that share an EDU
MAX_MESSAGE_ID = 32  # [ss "m.direct_to_device"]
MAX_TYPE = 255

Messages = Mapping[str, Mapping[str, Mapping[str, Any]]]  # user id -> device id or * -> content


@frozen(kw_only=True)
class Sending:
    """One request. `txn_owner`: the number of the device, or something as unique, that counts its transactions."""

    sender: str
    type: str
    txn_owner: int
    txn_id: str
    messages: Messages


@frozen
class ToDevice:
    """Sends and receives."""

    database: Database
    committer: Committer
    state_keys: StateKeys
    server_name: str

    async def send(self, sending: Sending) -> None:
        """Send once, however often it is asked for."""
        endpoint = f"sendToDevice/{sending.type}"
        async with self.database.read() as conn:
            if await to_device.is_transaction_done(conn, sending.txn_owner, endpoint, sending.txn_id):
                return
            local = await self._local(conn, sending.messages)
        outbound = list(self._outbound(sending))

        async def job(conn: Connection, position: int) -> None:
            if not await to_device.note_transaction(
                conn, sending.txn_owner, endpoint, sending.txn_id, now=now_ms()
            ):
                return
            if local:
                await to_device.deliver(conn, position, sending.sender, sending.type, local)
            if outbound:
                await outbound_to_device.add(conn, position, outbound)

        await self.committer.run(job, _touched(local))

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        """An m.direct_to_device of another server: delivered unless it came before."""
        fault = _fault_of(origin, content)
        if fault is not None:
            log.info("a message to devices is dropped", origin=origin, reason=fault)
            return
        async with self.database.read() as conn:
            local = await self._local(conn, checked_messages(content["messages"]))

        async def job(conn: Connection, position: int) -> None:
            if await to_device.note_received(conn, origin, content["message_id"], now=now_ms()) and local:
                await to_device.deliver(conn, position, content["sender"], content["type"], local)

        await self.committer.run(job, _touched(local))

    async def _local(self, conn: Connection, messages: Messages) -> list[Addressed]:
        """What is for users of ours."""
        ours = [user_id for user_id in messages if domain_of(user_id) == self.server_name]
        nids = await self.state_keys.find(conn, [user_key(user_id) for user_id in ours])
        return [
            Addressed(nid, device_id, orjson.dumps(content).decode())
            for (_, user_id), nid in nids.items()
            for device_id, content in messages[user_id].items()
        ]

    def _outbound(self, sending: Sending) -> Iterator[tuple[str, bytes]]:
        """EDUs for other servers, none of them large."""
        by_server: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
        for user_id, devices in sending.messages.items():
            server = domain_of(user_id)
            if server != self.server_name and is_server_name(server):
                by_server.setdefault(server, []).extend(
                    (user_id, device_id, content) for device_id, content in devices.items()
                )
        for server, messages in by_server.items():
            for part in _parts(messages):
                content = {
                    "sender": sending.sender,
                    "type": sending.type,
                    "message_id": secrets.token_urlsafe(18),
                    "messages": part,
                }
                yield server, _encoded({"edu_type": "m.direct_to_device", "content": content})


def checked_messages(value: Any) -> Messages:
    """What a body says whom to tell what. Raises M_BAD_JSON, M_TOO_LARGE."""
    if not isinstance(value, dict):
        raise bad_json("messages must be an object")
    for user_id, devices in value.items():
        if not isinstance(devices, dict) or not all(isinstance(one, dict) for one in devices.values()):
            raise bad_json(f"The messages for {user_id[:255]} must be an object of objects")
        if any("\0" in device_id for device_id in devices):
            raise bad_json("A device id must not contain the character U+0000")
        if any(len(orjson.dumps(content)) > MAX_CONTENT for content in devices.values()):
            raise MatrixError(413, "M_TOO_LARGE", "A message to a device is too large")
    return {user_id: devices for user_id, devices in value.items() if is_user_id(user_id)}


def _fault_of(origin: str, content: Mapping[str, Any]) -> str | None:
    """What is wrong with an EDU of another server, if anything is."""
    if not _is_text(content.get("type"), MAX_TYPE) or not _is_text(content.get("message_id"), MAX_MESSAGE_ID):
        return "its type or message_id is malformed"
    if not is_user_id(content.get("sender")) or domain_of(content["sender"]) != origin:
        return "its sender is not of that server"
    try:
        checked_messages(content.get("messages"))
    except MatrixError as fault:
        return fault.message
    return None


def _parts(
    messages: list[tuple[str, str, Mapping[str, Any]]],
) -> Iterator[dict[str, dict[str, Mapping[str, Any]]]]:
    """The messages of one server, as many together as fit into an EDU."""
    part: dict[str, dict[str, Mapping[str, Any]]] = {}
    size = 0
    for user_id, device_id, content in messages:
        more = len(orjson.dumps(content))
        if part and size + more > MAX_EDU:
            yield part
            part, size = {}, 0
        part.setdefault(user_id, {})[device_id] = content
        size += more
    if part:
        yield part


def _encoded(value: Any) -> bytes:
    try:
        return canonical_json.check(value)
    except canonical_json.NotCanonical:
        return canonical_json.encode_lenient(value)


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and "\0" not in value


def _touched(local: list[Addressed]) -> Touched:
    return Touched(users=tuple({message.user_nid for message in local}), kind=Kind.TO_DEVICE)
