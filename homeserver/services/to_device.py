"""Messages from device to device: each is delivered once, in order, or waits for its server.

A request and all it leads to is one write: the queues of our devices, the EDUs for other servers, and the note that
the transaction has been done. [cs "Send-to-Device messaging", ss "Send-to-device messaging"]
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from storage.to_device import Letters, Parcel

log = structlog.get_logger(__name__)

MAX_CONTENT = 65_536  # bytes of one message, as of an event [cs "Size limits"]
MAX_EDU = 65_536  # bytes of messages that share an EDU
MAX_MESSAGE_ID = 32  # [ss "m.direct_to_device"]
MAX_TYPE = 255

Messages = Mapping[str, Letters]  # by user id


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
        nids = await self._nids(sending.messages)
        parcel = Parcel(sending.sender, sending.type, _addressed(nids, sending.messages))
        outbound = list(self._outbound(sending))

        async def job(conn: Connection, position: int) -> None:
            if not await to_device.note_transaction(
                conn, sending.txn_owner, endpoint, sending.txn_id, now=now_ms()
            ):
                return
            await to_device.deliver(conn, position, [parcel])
            if outbound:
                await outbound_to_device.add(conn, position, outbound)

        elsewhere = Kind.TO_DEVICE_ELSEWHERE if outbound else None
        touched = Touched(users=tuple(nids.values()), kind=Kind.TO_DEVICE, elsewhere=elsewhere)
        await self.committer.run(job, touched)

    async def receive(self, origin: str, contents: Sequence[Mapping[str, Any]]) -> None:
        """m.direct_to_device of another server, in their order: each is delivered unless it came before."""
        letters: dict[str, Sending] = {}
        for content in contents:
            try:
                letter = _letter(origin, content)
                letters.setdefault(letter.txn_id, letter)
            except MatrixError as fault:
                log.info("a message to devices is dropped", origin=origin, reason=fault.message)
        if not letters:
            return
        users = {user_id for letter in letters.values() for user_id in letter.messages}
        nids = await self._nids(users)

        async def job(conn: Connection, position: int) -> None:
            new = await to_device.note_received(conn, origin, list(letters), now=now_ms())
            parcels = [
                Parcel(letter.sender, letter.type, _addressed(nids, letter.messages))
                for message_id, letter in letters.items()
                if message_id in new
            ]
            await to_device.deliver(conn, position, parcels)

        await self.committer.run(job, Touched(users=tuple(nids.values()), kind=Kind.TO_DEVICE))

    async def _nids(self, user_ids: Iterable[str]) -> dict[str, int]:
        """The numbers of those who are users of ours; mostly they are known, and no connection is taken."""
        ours = [user_id for user_id in user_ids if domain_of(user_id) == self.server_name]
        nids = {user_id: self.state_keys.known(user_key(user_id)) for user_id in ours}
        unknown = [user_key(user_id) for user_id, nid in nids.items() if nid is None]
        if unknown:
            async with self.database.read() as conn:
                nids |= {key[1]: nid for key, nid in (await self.state_keys.find(conn, unknown)).items()}
        return {user_id: nid for user_id, nid in nids.items() if nid is not None}

    def _outbound(self, sending: Sending) -> Iterator[tuple[str, bytes]]:
        """EDUs for other servers, none of them large."""
        by_server: dict[str, list[tuple[str, str, bytes]]] = {}
        for user_id, devices in sending.messages.items():
            server = domain_of(user_id)
            if server != self.server_name and is_server_name(server):
                by_server.setdefault(server, []).extend(
                    (user_id, device_id, text) for device_id, text in devices.items()
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
    found = {}
    for user_id, devices in value.items():
        if not isinstance(devices, dict) or not all(isinstance(one, dict) for one in devices.values()):
            raise bad_json(f"The messages for {user_id[:255]} must be an object of objects")
        if any("\0" in device_id for device_id in devices):
            raise bad_json("A device id must not contain the character U+0000")
        found[user_id] = {device_id: _text(content) for device_id, content in devices.items()}
    return {user_id: devices for user_id, devices in found.items() if is_user_id(user_id)}


def _text(content: dict[str, Any]) -> bytes:
    try:
        text = orjson.dumps(content)
    except orjson.JSONEncodeError as error:
        raise bad_json("A message to a device is nested too deeply") from error
    if len(text) > MAX_CONTENT:
        raise MatrixError(413, "M_TOO_LARGE", "A message to a device is too large")
    return text


def _addressed(nids: Mapping[str, int], messages: Messages) -> dict[int, Letters]:
    """What is for users of ours."""
    return {nids[user_id]: letters for user_id, letters in messages.items() if user_id in nids}


def _letter(origin: str, content: Mapping[str, Any]) -> Sending:
    """What an EDU of another server sends. Raises MatrixError for what is wrong with it."""
    if not _is_text(content.get("type"), MAX_TYPE) or not _is_text(content.get("message_id"), MAX_MESSAGE_ID):
        raise bad_json("its type or message_id is malformed")
    if not is_user_id(content.get("sender")) or domain_of(content["sender"]) != origin:
        raise bad_json("its sender is not of that server")
    return Sending(
        sender=content["sender"],
        type=content["type"],
        txn_owner=0,
        txn_id=content["message_id"],
        messages=checked_messages(content.get("messages")),
    )


def _parts(messages: list[tuple[str, str, bytes]]) -> Iterator[dict[str, dict[str, Any]]]:
    """The messages of one server, as many together as fit into an EDU."""
    part: dict[str, dict[str, Any]] = {}
    size = 0
    for user_id, device_id, text in messages:
        if part and size + len(text) > MAX_EDU:
            yield part
            part, size = {}, 0
        part.setdefault(user_id, {})[device_id] = orjson.loads(text)
        size += len(text)
    if part:
        yield part


def _encoded(value: Any) -> bytes:
    try:
        return canonical_json.check(value)
    except canonical_json.NotCanonical:
        return canonical_json.encode_lenient(value)


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and "\0" not in value
