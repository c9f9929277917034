"""Events as they are: hashes, ids, redaction, signatures and limits of size."""

import copy
from pathlib import Path
from typing import Any

from signedjson.key import decode_signing_key_base64, decode_verify_key_bytes
from unpaddedbase64 import decode_base64

from homeserver.core.event_format import EventTooLarge, check_format, parse_pdu
from homeserver.core.hashing import content_hash, content_hash_holds, event_id_of, reference_hash, unpadded
from homeserver.core.redaction import redact
from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.core.signing import sign_event, signature_holds
from tests.vectors.result import Result, differs, load


def run(path: Path) -> Result:
    """Check every case by its kind."""
    document, result = load(path), Result()
    kinds = {"event": _check_event, "verify": _check_verification, "size": _check_size}
    for number, case in enumerate(document["cases"]):
        label = f"case {number}, version {case['room_version']}, {case['kind']} {case['name']}"
        version = ROOM_VERSIONS[case["room_version"]]
        result.check(label, kinds[case["kind"]], case, version, document["keys"])
    return result


def _check_event(case: dict[str, Any], version: RoomVersion, keys: dict[str, Any]) -> str | None:
    pdu, signer = case["event"], case["signer"]
    key = keys[signer]
    algorithm, key_version = key["key_id"].split(":")
    signing_key = decode_signing_key_base64(algorithm, key_version, key["seed"])
    unsigned = {**pdu, "signatures": {}}
    signed = sign_event(unsigned, signer, signing_key, version)
    redacted = redact(pdu, version)
    return (
        differs(case["content_hash"], content_hash(pdu, version))
        or differs(case["reference_hash"], unpadded(reference_hash(pdu, version)))
        or differs(case["event_id"], event_id_of(pdu, version))
        or differs(case["redacted"], redacted)
        or differs(pdu["signatures"][signer], signed["signatures"][signer])
        or differs(case["event_id"], parse_pdu(pdu, version).event_id)
    )


def _check_verification(case: dict[str, Any], version: RoomVersion, _: dict[str, Any]) -> str | None:
    key = decode_verify_key_bytes(case["key_id"], decode_base64(case["public_key"]))
    expected = (case["signature_ok"], case["content_hash_ok"])
    signed = signature_holds(case["event"], case["server"], key, version)
    return differs(expected, (signed, content_hash_holds(case["event"], version)))


def _check_size(case: dict[str, Any], version: RoomVersion, _: dict[str, Any]) -> str | None:
    pdu = copy.deepcopy(case["event"])
    if pad := case["pad_body"]:
        pdu["content"]["body"] = pad["char"] * pad["count"]
    try:
        check_format(pdu, version)
    except EventTooLarge as too_large:
        return differs(case["field"], too_large.field)
    return differs(True, case["ok"])
