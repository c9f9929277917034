"""Events made by hand, right or wrong in chosen places. Shares no line with the server that shall judge them."""

import base64
import hashlib
import time

from canonicaljson import encode_canonical_json
from signedjson.sign import sign_json

_TOP = {
    "event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth",
    "prev_events", "auth_events", "origin_server_ts",
}  # fmt: skip
_CONTENT = {
    "m.room.member": {"membership", "join_authorised_via_users_server"},
    "m.room.join_rules": {"join_rule", "allow"},
    "m.room.history_visibility": {"history_visibility"},
    "m.room.redaction": {"redacts"},
    "m.room.power_levels": {
        "ban", "events", "events_default", "invite", "kick", "redact", "state_default", "users", "users_default",
    },
}  # fmt: skip


def unpadded(data):
    return base64.b64encode(data).decode().rstrip("=")


def redacted(event):
    """As since room version 11."""
    kept = {key: value for key, value in event.items() if key in _TOP}
    if event["type"] != "m.room.create":
        names = _CONTENT.get(event["type"], set())
        kept["content"] = {key: value for key, value in event["content"].items() if key in names}
    return kept


def hashed(event):
    """The event with the hash of its content."""
    covered = {key: value for key, value in event.items() if key not in ("hashes", "signatures", "unsigned")}
    digest = hashlib.sha256(encode_canonical_json(covered)).digest()
    return {**event, "hashes": {"sha256": unpadded(digest)}}


def signed(event, name, key):
    """The event with one more signature."""
    told = sign_json({**redacted(event), "signatures": {}}, name, key)
    return {**event, "signatures": {**event.get("signatures", {}), **told["signatures"]}}


def event_id(event):
    if "event_id" in event:
        return event["event_id"]
    bare = {key: value for key, value in redacted(event).items() if key != "signatures"}
    digest = hashlib.sha256(encode_canonical_json(bare)).digest()
    return "$" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def auth_of(state, sender, kind, state_key, content):
    """Ids of what authorizes an event, out of a state by key."""
    keys = [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", sender)]
    if kind == "m.room.member":
        keys.append(("m.room.member", state_key))
        if content.get("membership") in ("join", "invite"):
            keys.append(("m.room.join_rules", ""))
    return list(dict.fromkeys(state[key] for key in keys if key in state))


def now():
    return int(time.time() * 1000)
