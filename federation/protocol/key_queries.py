"""Asking a notary for many servers' keys, and being asked [ss "Querying Keys Through Another Server"]."""

from collections.abc import Mapping, Sequence
from typing import Any

from signedjson.types import VerifyKey

from federation.protocol.key_responses import InvalidKeys, PublishedKeys, check, has_signed
from homeserver.core import canonical_json
from homeserver.core.ids import is_server_name

MAX_SERVERS = 100  # in one query
MAX_BYTES = 4 * 1024 * 1024  # of the answer to one

Query = Mapping[str, Mapping[str, int]]  # server -> key id -> until when it must be valid (ms)


class InvalidQuery(ValueError):
    """The query cannot be answered; the message says why."""


def build_query(wanted: Query) -> dict[str, Any]:
    """The body of POST /_matrix/key/v2/query."""
    return {
        "server_keys": {
            server: {key_id: {"minimum_valid_until_ts": until} for key_id, until in keys.items()}
            for server, keys in wanted.items()
        }
    }


def parse_query(body: Mapping[str, Any], now: int) -> dict[str, dict[str, int]]:
    """Which keys we are asked for as a notary. A server without key ids means all of its keys."""
    asked = body.get("server_keys")
    if not isinstance(asked, dict):
        raise InvalidQuery("server_keys must be an object")
    if len(asked) > MAX_SERVERS:
        raise InvalidQuery(f"more than {MAX_SERVERS} servers in one query")
    return {server: _criteria(server, keys, now) for server, keys in asked.items()}


def parse_answer(
    body: bytes, wanted: Query, *, notary: str, notary_keys: Mapping[str, VerifyKey], now: int
) -> Sequence[PublishedKeys]:
    """What a notary answered, as far as it was asked for and both signatures hold; the rest is left out."""
    if len(body) > MAX_BYTES:
        raise InvalidKeys("the notary's answer is too long")
    try:
        answer = canonical_json.decode(body)
    except canonical_json.NotCanonical as error:
        raise InvalidKeys("the notary's answer is not canonical JSON") from error
    found = answer.get("server_keys") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise InvalidKeys("the notary's answer has no list of server_keys")
    checked = (_checked(one, wanted, notary, notary_keys, now) for one in found)
    return [keys for keys in checked if keys is not None]


def _checked(
    one: object, wanted: Query, notary: str, notary_keys: Mapping[str, VerifyKey], now: int
) -> PublishedKeys | None:
    server_name = one.get("server_name") if isinstance(one, dict) else None
    if not isinstance(one, dict) or not isinstance(server_name, str) or server_name not in wanted:
        return None
    try:
        return check(one, server_name, now) if has_signed(one, notary, notary_keys) else None
    except InvalidKeys:
        return None


def _criteria(server: str, keys: object, now: int) -> dict[str, int]:
    if not is_server_name(server):
        raise InvalidQuery("server_keys must be named after servers")
    if not isinstance(keys, dict) or not all(isinstance(one, dict) for one in keys.values()):
        raise InvalidQuery("each server's entry must be an object of key ids with objects")
    return {key_id: _least(criteria, now) for key_id, criteria in keys.items()}


def _least(criteria: Mapping[str, Any], now: int) -> int:
    """ "If not supplied, the notary server MUST use the current time." """
    least = criteria.get("minimum_valid_until_ts", now)
    if type(least) is not int:
        raise InvalidQuery("minimum_valid_until_ts must be an integer")
    return least
