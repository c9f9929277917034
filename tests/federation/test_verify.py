"""Checks 1 to 3 on many PDUs at once: what passes, what is dropped, and what is stored of it."""

import asyncio
import time

import orjson
import pytest
from signedjson.key import generate_signing_key, get_verify_key

from federation.verify import AT_ONCE, SLICE, PduChecks
from homeserver.core import canonical_json
from homeserver.core.canonical_json import Unparsed
from homeserver.core.hashing import content_hash
from homeserver.core.receipt_checks import Dropped, ServerKey
from homeserver.core.room_versions import ROOM_VERSIONS, V1, V4, V5, V8, V12
from homeserver.core.signing import sign_event
from homeserver.services.judging import Arrival
from tests.kit.key_servers import DAY, NOW, KeyNet

KEY = generate_signing_key("a_1")
NAME = ("a.example", "ed25519:a_1")


class Known:
    """A key ring that knows these keys and remembers what it was asked for."""

    def __init__(self, keys):
        self.known, self.asked = keys, []

    async def keys(self, wanted):
        self.asked.append(dict(wanted))
        return {name: key for name, key in self.known.items() if name in wanted}


def good_keys():
    return Known({NAME: ServerKey(get_verify_key(KEY), NOW + DAY)})


def pdu(number=0, version=V12, *, key=KEY, server="a.example", **changes):
    links = [["$prev:a.example", {}]] if version.event_id_in_pdu else ["$" + "p" * 43]
    made = {
        "type": "m.room.message",
        "sender": "@alice:a.example",
        "room_id": "!" + "r" * 43 if version.room_id_is_create_hash else "!room:a.example",
        "content": {"msgtype": "m.text", "body": f"message {number}"},
        "origin_server_ts": NOW + number,
        "depth": number,
        "prev_events": links,
        "auth_events": links,
        **changes,
    }
    if version.event_id_in_pdu:
        made.setdefault("event_id", f"${number}:a.example")
    made["hashes"] = {"sha256": content_hash(made, version)}
    return sign_event(made, server, key, version)


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=ROOM_VERSIONS)
@pytest.mark.parametrize("count", [1, AT_ONCE, AT_ONCE + 1, SLICE + 1])
async def test_in_order(version, count):
    ring = good_keys()
    pdus = [pdu(number, version) for number in range(count)]
    checked = await PduChecks(ring).check(pdus, version)
    assert [orjson.loads(one.json) for one in checked] == pdus
    assert len(ring.asked) == 1  # for all of them


@pytest.mark.parametrize("version", [V1, V12])
async def test_what_is_not_parsed_yet(version):
    """As the events of a large answer come."""
    pdus = [pdu(number, version) for number in range(100)]
    texts = [Unparsed(orjson.dumps(one, option=orjson.OPT_INDENT_2)) for one in pdus]
    texts[50] = Unparsed(b'{"type": 5, "sender": "\xff"}')
    texts[60] = Unparsed(b'{"type": 5, "sender": "@a"}')
    checked = await PduChecks(good_keys()).check(texts, version)
    assert [isinstance(one, Dropped) for one in checked] == [number in (50, 60) for number in range(100)]
    passed = [one for one in checked if isinstance(one, Arrival)]
    assert [orjson.loads(one.json) for one in passed] == [*pdus[:50], *pdus[51:60], *pdus[61:]]
    assert {one.json for one in passed} >= {canonical_json.encode(pdus[0])}


async def test_none():
    assert await PduChecks(good_keys()).check([], V12) == []


async def test_what_is_kept_are_the_signed_bytes_alone():
    sent = pdu()
    (arrival,) = await PduChecks(good_keys()).check([{**sent, "unsigned": {"age": 5}}], V12)
    assert arrival.json == canonical_json.encode(sent)
    assert arrival.event.pdu == sent
    assert arrival.authorizer_signed


async def test_an_event_that_is_not_what_its_hash_says_is_redacted():
    sent = pdu()
    changed = {**sent, "content": {"body": "changed"}}
    (arrival,) = await PduChecks(good_keys()).check([changed], V12)
    assert arrival.event.content == {}
    assert arrival.json == canonical_json.encode({**sent, "content": {}})


@pytest.mark.parametrize(
    ("bad", "check"),
    [
        (None, 1),
        ([], 1),
        ({}, 1),
        ({**pdu(), "depth": 1.5}, 1),
        ({**pdu(), "sender": "alice"}, 1),
        ({**pdu(), "signatures": {}}, 2),
        ({**pdu(), "origin_server_ts": NOW - 1}, 2),  # changed after signing
        (pdu(key=generate_signing_key("a_1")), 2),
        (pdu(key=generate_signing_key("unknown")), 2),
        (pdu(server="b.example"), 2),
        (pdu(sender="@alice:b.example"), 2),
    ],
)
async def test_the_bad_ones_are_dropped_and_spoil_no_other(bad, check):
    first, dropped, last = await PduChecks(good_keys()).check([pdu(1), bad, pdu(2)], V12)
    assert isinstance(first, Arrival)
    assert isinstance(last, Arrival)
    assert isinstance(dropped, Dropped)
    assert dropped.check == check


@pytest.mark.parametrize(
    ("version", "asked"),
    [(V4, 0), (V5, NOW + 2)],  # since v5 the key must have been valid at the event's time
)
async def test_for_which_time_keys_are_asked_for(version, asked):
    ring = good_keys()
    await PduChecks(ring).check([pdu(number, version) for number in (0, 2, 1)], version)
    assert ring.asked == [{NAME: asked}]


EXPIRED = ServerKey(get_verify_key(KEY), NOW - 1)
RETIRED = ServerKey(get_verify_key(KEY), NOW - 1, retired=True)


@pytest.mark.parametrize(
    ("version", "key", "passes"),
    [
        (V4, EXPIRED, True),
        (V5, EXPIRED, False),
        (V12, EXPIRED, False),
        (V4, RETIRED, False),
        (V12, RETIRED, False),
        (V12, ServerKey(get_verify_key(KEY), NOW, retired=True), True),  # it could sign until then
    ],
)
async def test_validity(version, key, passes):
    (checked,) = await PduChecks(Known({NAME: key})).check([pdu(0, version)], version)
    assert isinstance(checked, Arrival) is passes


def join(version, *servers):
    content = {"membership": "join", "join_authorised_via_users_server": "@bob:b.example"}
    made = pdu(0, version, type="m.room.member", state_key="@alice:a.example", content=content)
    for server in servers:
        made = sign_event(made, server, KEY, version)
    return made


async def test_the_server_that_lets_a_joiner_in_must_have_signed():
    other = ("b.example", "ed25519:a_1")
    ring = Known({NAME: ServerKey(get_verify_key(KEY), NOW), other: ServerKey(get_verify_key(KEY), NOW)})
    checks = PduChecks(ring)
    (signed,) = await checks.check([join(V8, "b.example")], V8)
    assert signed.authorizer_signed
    (unsigned,) = await checks.check([join(V8)], V8)
    assert unsigned.check == 2


async def test_version_1_needs_the_signature_of_the_ids_server_too():
    (checked,) = await PduChecks(good_keys()).check([pdu(0, V1, event_id="$1:b.example")], V1)
    assert checked == Dropped(2, "no valid signature of b.example")


async def test_old_events_of_a_rotated_key_pass_and_new_ones_do_not(database):
    """What others see of `homeserver keys rotate`."""
    net = KeyNet()
    server = net.add("a.example", key=KEY)
    checks = PduChecks(net.ring(database))
    net.clock.go(10)
    server.rotate("new")
    old, late = pdu(5), pdu(5000)
    new = pdu(5000, key=server.key)
    passed, refused, current = await checks.check([old, late, new], V12)
    assert isinstance(passed, Arrival)
    assert refused == Dropped(2, "no valid signature of a.example")
    assert isinstance(current, Arrival)
    assert net.asked == {"a.example": 1}


async def test_a_hundred_events_at_once_ask_once(database):
    net = KeyNet()
    net.add("a.example", key=KEY)
    checks = PduChecks(net.ring(database))
    checked = await asyncio.gather(*(checks.check([pdu(number)], V12) for number in range(100)))
    assert all(isinstance(one, Arrival) for (one,) in checked)
    assert net.asked == {"a.example": 1}


async def test_signatures_by_the_policy_server_key_are_not_looked_for(database):
    net = KeyNet()
    net.add("a.example", key=KEY)
    recommended = sign_event(pdu(), "a.example", generate_signing_key("policy_server"), V12)
    (checked,) = await PduChecks(net.ring(database)).check([recommended], V12)
    assert isinstance(checked, Arrival)
    assert net.asked == {"a.example": 1}


async def test_the_loop_goes_on_meanwhile():
    """The longest pause of the loop while a large room is checked: far below what one batch takes."""
    pdus = [pdu(number) for number in range(1500)]
    checking = asyncio.create_task(PduChecks(good_keys()).check(pdus, V12))
    pauses, before = [], time.perf_counter()
    while not checking.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        pauses.append(now - before)
        before = now
    assert len(pauses) > 50
    assert sorted(pauses)[len(pauses) * 9 // 10] < 0.01
