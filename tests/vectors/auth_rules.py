"""Authorization: an event, its auth events and the state before it, allowed or not."""

from pathlib import Path
from typing import Any

from signedjson.key import decode_verify_key_bytes
from unpaddedbase64 import decode_base64

from homeserver.core.auth.rejection import Rejected
from homeserver.core.auth.rules import check_auth, check_auth_events
from homeserver.core.auth.state import AuthState
from homeserver.core.event import Event, event_from_pdu
from homeserver.core.hashing import event_id_of
from homeserver.core.ids import domain_of
from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.core.signing import signature_holds
from tests.vectors.result import Result, load


def run(path: Path) -> Result:
    """Check every case: first the rules about the list of auth events, then those about the state."""
    document = load(path)
    keys = {
        server: decode_verify_key_bytes(key["key_id"], decode_base64(key["public"]))
        for server, key in document["keys"].items()
    }
    rooms = {name: _Room(ROOM_VERSIONS[name], events, keys) for name, events in document["events"].items()}
    result = Result()
    for number, case in enumerate(document["cases"]):
        label = f"case {number}, version {case['room_version']}, {case['category']}, {case['reason']}"
        result.check(label, rooms[case["room_version"]].check, case)
    return result


class _Room:
    """The events of one room version, by name."""

    def __init__(self, version: RoomVersion, events: dict[str, Any], keys: dict[str, Any]) -> None:
        self.version, self.keys, self.named = version, keys, events
        self.events = {
            name: event_from_pdu(entry["pdu"], entry["event_id"], version) for name, entry in events.items()
        }
        self.creates = {
            event.room_id: event for event in self.events.values() if event.type == "m.room.create"
        }

    def check(self, case: dict[str, Any]) -> str | None:
        """None when the verdict is the expected one."""
        try:
            self._judge(case)
        except Rejected as rejected:
            return f"rejected: {rejected}" if case["allowed"] else None
        return None if case["allowed"] else "allowed"

    def _judge(self, case: dict[str, Any]) -> None:
        event = self._event(case)
        check_auth_events(
            event,
            [self.events[name] for name in case["event"]["auth_events"]],
            rejected={self.events[name].event_id for name in case.get("rejected_events", ())},
            create=self.creates.get(event.room_id),
        )
        state = [self.events[name] for name in case["state"]]
        check_auth(
            event,
            AuthState({entry.key: entry for entry in state}, self.version),
            authorizer_signed=self._authorizer_signed(event, case["category"]),
        )

    def _event(self, case: dict[str, Any]) -> Event:
        """The case's event, names replaced by links."""
        pdu = dict(case["event"])
        for field in ("prev_events", "auth_events"):
            pdu[field] = [self._link(name) for name in pdu[field]]
        return event_from_pdu(pdu, event_id_of(pdu, self.version), self.version)

    def _link(self, name: str) -> Any:
        entry = self.named[name]
        if self.version.event_id_in_pdu:
            return [entry["event_id"], {"sha256": entry["reference_hash"]}]
        return entry["event_id"]

    def _authorizer_signed(self, event: Event, category: str) -> bool:
        authorizer = event.content.get("join_authorised_via_users_server")
        if category != "restricted_join" or not isinstance(authorizer, str):
            return True
        server = domain_of(authorizer)
        return server in self.keys and signature_holds(event.pdu, server, self.keys[server], self.version)
