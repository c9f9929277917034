"""Invitations that redeem a third-party invite: a row for each rule [rooms/v12 auth 5.4.1]."""

from typing import Any

import pytest
from attrs import evolve
from nacl.signing import SigningKey
from signedjson.key import decode_signing_key_base64
from signedjson.sign import sign_json
from unpaddedbase64 import encode_base64

from homeserver.core.room_versions import V1, V11, V12
from tests.kit.room_builder import ALICE, BOB, CHARLIE, RoomBuilder
from tests.kit.verdicts import OK, verdict

SEED = encode_base64(b"third-party invites, a test key.")
KEY = decode_signing_key_base64("ed25519", "0", SEED)
PUBLIC = encode_base64(bytes(KEY.verify_key))
OTHER_PUBLIC = encode_base64(bytes(SigningKey(b"another identity server's secret").verify_key))
TOKEN = "one-time token"
OFFER = {"display_name": "charlie", "public_key": PUBLIC}


def signed(mxid: str = CHARLIE, token: str = TOKEN) -> dict[str, Any]:
    return dict(sign_json({"mxid": mxid, "token": token}, "id.example", KEY))


def without(field: str) -> dict[str, Any]:
    return {key: value for key, value in signed().items() if key != field}


def keys(*public_keys: Any) -> dict[str, Any]:
    return {"public_keys": [{"public_key": key} for key in public_keys]}


ROWS: list[tuple[str, Any, dict[str, Any], str]] = [  # expected, third_party_invite, offer, sender
    (OK, {"signed": signed()}, OFFER, ALICE),
    (OK, {"signed": signed()}, {"public_key": OTHER_PUBLIC, **keys(PUBLIC)}, ALICE),
    (OK, {"signed": signed()}, keys("nonsense", OTHER_PUBLIC, PUBLIC), ALICE),
    (OK, {"signed": {**signed(), "unsigned": {"age": 1}}}, OFFER, ALICE),
    ("v12 5.4.1.2", {}, OFFER, ALICE),
    ("v12 5.4.1.2", "invite", OFFER, ALICE),
    ("v12 5.4.1.2", {"signed": []}, OFFER, ALICE),
    ("v12 5.4.1.3", {"signed": without("mxid")}, OFFER, ALICE),
    ("v12 5.4.1.3", {"signed": without("token")}, OFFER, ALICE),
    ("v12 5.4.1.4", {"signed": signed(mxid=BOB)}, OFFER, ALICE),
    ("v12 5.4.1.5", {"signed": signed(token="another")}, OFFER, ALICE),
    ("v12 5.4.1.6", {"signed": signed()}, OFFER, BOB),
    ("v12 5.4.1.8", {"signed": signed()}, {"public_key": OTHER_PUBLIC}, ALICE),
    ("v12 5.4.1.8", {"signed": signed()}, {"public_key": "", "public_keys": {}}, ALICE),
    ("v12 5.4.1.8", {"signed": {**signed(), "extra": 1}}, OFFER, ALICE),
    ("v12 5.4.1.8", {"signed": without("signatures")}, OFFER, ALICE),
    ("v12 5.4.1.8", {"signed": {**signed(), "signatures": {"id.example": {"ed25519:0": 5}}}}, OFFER, ALICE),
    ("v12 5.4.1.8", {"signed": {**signed(), "signatures": {"id.example": {"ed25519:0": "é"}}}}, OFFER, ALICE),
    ("v12 5.4.1.8", {"signed": {**signed(), "signatures": {"id.example": []}}}, OFFER, ALICE),
]


@pytest.mark.parametrize("version", [V1, V11, V12], ids=lambda version: f"v{version.name}")
@pytest.mark.parametrize(("expected", "invite", "offer", "sender"), ROWS)
def test_redeeming(expected: str, invite: Any, offer: dict[str, Any], sender: str, version: Any) -> None:
    room = RoomBuilder(version).public(ALICE)
    room.join(BOB)
    room.send_state(ALICE, "m.room.third_party_invite", TOKEN, offer)
    assert verdict(redeem(room, sender, invite), room.state) == expected


BANNED = "v12 5.4.1.1"


def test_the_banned_stay_out() -> None:
    room = RoomBuilder(V12).public(ALICE)
    room.ban(ALICE, CHARLIE)
    room.send_state(ALICE, "m.room.third_party_invite", TOKEN, OFFER)
    assert verdict(redeem(room, ALICE, {"signed": signed()}), room.state) == BANNED


def test_a_flood_of_signatures_costs_little() -> None:
    """Only so many pairs of keys and signatures are tried."""
    room = RoomBuilder(V12).public(ALICE)
    flood = {f"s{n}": {"ed25519:0": encode_base64(bytes([n % 256]) * 64)} for n in range(400)}
    offered = keys(*(encode_base64(n.to_bytes(32, "big")) for n in range(400)))
    room.send_state(ALICE, "m.room.third_party_invite", TOKEN, offered)
    invite = {"signed": {**signed(), "signatures": flood}}
    assert verdict(redeem(room, ALICE, invite), room.state) == "v12 5.4.1.8"


def redeem(room: RoomBuilder, sender: str, invite: Any) -> Any:
    """charlie's invitation; its auth events do not matter here, only the state does."""
    content = {"membership": "invite"}
    event = room.draft(sender, "m.room.member", content, state_key=CHARLIE)
    full = {**content, "third_party_invite": invite}
    return evolve(event, content=full, pdu={**event.pdu, "content": full})
