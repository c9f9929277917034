"""We as a notary, and our key ring against servers of ours: over TLS on loopback."""

import pytest
from signedjson.key import generate_signing_key, get_verify_key

from federation.inbound import keys_query
from federation.protocol import key_queries, key_responses, x_matrix
from federation.verify import PduChecks
from homeserver.app.key_files import rotate_signing_key, signing_key
from homeserver.core.room_versions import V12
from homeserver.services.judging import Arrival
from homeserver.services.now import now_ms
from tests.federation.test_verify import pdu
from tests.kit.key_servers import Sources, make_ring

QUERY = "/_matrix/key/v2/query"
DAY = 24 * 3600 * 1000


def said(homing, answer, *servers):
    """What a notary's answer proves: both signatures of each server's keys."""
    key = signing_key(homing.config)
    proven = key_queries.parse_answer(
        answer.content,
        {server: {} for server in servers},
        notary=homing.name,
        notary_keys={f"ed25519:{key.version}": get_verify_key(key)},
        now=now_ms(),
    )
    assert len(proven) == len(answer.json["server_keys"])
    return {published.server_name: published for published in proven}


async def ask(homing, wanted):
    return await homing.anonymous().ask("POST", QUERY, {"server_keys": wanted})


def fetches(peer):
    return len(peer.seen("GET", "/_matrix/key/v2/server"))


async def test_a_query_for_many(homing, peers):
    first, second = await peers(), await peers()
    wanted = {first.name: {"ed25519:peer": {}}, second.name: {}, "127.0.0.1:1": {}}
    proven = said(homing, await ask(homing, wanted), *wanted)
    assert set(proven) == {first.name, second.name}
    assert proven[first.name].keys["ed25519:peer"].key == get_verify_key(first.key)


@pytest.mark.parametrize("more", ["", "/ed25519:peer", "/ed25519:unknown", "/nonsense", "/ed25519%3Apeer/"])
async def test_a_query_for_one(homing, peer, more):
    answer = await homing.anonymous().ask("GET", f"{QUERY}/{peer.name}{more}")
    assert set(said(homing, answer, peer.name)) == {peer.name}


async def test_what_is_valid_long_enough_comes_from_storage(homing, peer):
    for _ in range(3):
        await ask(homing, {peer.name: {"ed25519:peer": {"minimum_valid_until_ts": now_ms()}}})
    assert fetches(peer) == 1
    await ask(homing, {peer.name: {"ed25519:peer": {"minimum_valid_until_ts": now_ms() + 400 * DAY}}})
    assert fetches(peer) == 2
    far = now_ms() + 400 * DAY
    await homing.anonymous().ask("GET", f"{QUERY}/{peer.name}", minimum_valid_until_ts=far)
    assert fetches(peer) == 3
    for _ in range(20):  # whoever asks for the impossible makes us ask no more than so often
        await ask(homing, {peer.name: {"ed25519:peer": {"minimum_valid_until_ts": far}}})
    assert fetches(peer) <= 6


async def test_servers_that_are_gone_are_answered_for(homing, peer):
    await ask(homing, {peer.name: {}})
    await peer.stop()
    far = now_ms() + 400 * DAY
    answer = await ask(homing, {peer.name: {"ed25519:peer": {"minimum_valid_until_ts": far}}})
    assert set(said(homing, answer, peer.name)) == {peer.name}


async def test_a_key_that_is_published_no_more_is_passed_on(homing, peer):
    await ask(homing, {peer.name: {}})
    peer.key = generate_signing_key("next")
    await ask(homing, {peer.name: {"ed25519:next": {}}})
    answer = await ask(homing, {peer.name: {"ed25519:peer": {"minimum_valid_until_ts": 0}}})
    found = {key for one in answer.json["server_keys"] for key in one["verify_keys"]}
    assert found == {"ed25519:peer", "ed25519:next"}


async def test_our_own_keys(homing):
    key = signing_key(homing.config)
    for answer in (
        await ask(homing, {homing.name: {}}),
        await homing.anonymous().ask("GET", f"{QUERY}/{homing.name}"),
    ):
        (published,) = answer.json["server_keys"]
        proven = key_responses.check(published, homing.name, now_ms())
        assert proven.keys[f"ed25519:{key.version}"].key == get_verify_key(key)


async def test_nothing_is_asked_for(homing):
    assert (await ask(homing, {})).json == {"server_keys": []}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"server_keys": 7},
        {"server_keys": {"a b": {}}},
        {"server_keys": {f"{number}.example": {} for number in range(101)}},
        {
            "server_keys": {
                "a.example": {f"ed25519:{number}": {} for number in range(keys_query.MAX_KEYS + 1)}
            }
        },
        {"server_keys": {"a.example": {"ed25519:1": {"minimum_valid_until_ts": "now"}}}},
    ],
)
async def test_no_queries(homing, body):
    assert await homing.anonymous().refused("POST", QUERY, body) == (400, "M_BAD_JSON")


async def test_no_query_for_one(homing):
    client = homing.anonymous()
    assert await client.refused("GET", f"{QUERY}/a%20b") == (400, "M_INVALID_PARAM")
    far = {"minimum_valid_until_ts": "soon"}
    assert await client.refused("GET", f"{QUERY}/a.example", **far) == (400, "M_INVALID_PARAM")


async def test_key_ids_that_no_database_holds(homing, peer):
    answer = await ask(homing, {peer.name: {"ed25519:\x00": {}, "": {}}})
    assert set(said(homing, answer, peer.name)) == {peer.name}


# --- servers of ours among themselves


async def keys_of(homing):
    """What the server publishes now."""
    return (await homing.anonymous().ask("GET", "/_matrix/key/v2/server")).content


async def test_a_rotated_key_of_ours_among_ours(homings):
    """What `homeserver keys rotate` retires: old events stand, new events and requests with it do not."""
    asking, asked = await homings(2)
    old = signing_key(asked.config)
    assert await requested(asking, asked, old) == 404
    signed = {"server": asked.name, "sender": f"@alice:{asked.name}"}
    earlier = pdu(**signed, key=old, origin_server_ts=now_ms() - 1000)
    await asked.stop()
    rotate_signing_key(asked.config, now_ms())
    await asked.start()
    new = signing_key(asked.config)
    later = pdu(**signed, key=old, origin_server_ts=now_ms() + 1000)
    current = pdu(**signed, key=new, origin_server_ts=now_ms())
    ring = make_ring(Sources(lambda _: keys_of(asked), None), asking.database, now_ms)
    verdicts = await PduChecks(ring).check([earlier, later, current], V12)
    assert [isinstance(one, Arrival) for one in verdicts] == [True, False, True]
    assert await requested(asking, asked, new) == 404
    assert await requested(asking, asked, old) == 401


async def requested(to, origin, key):
    """The status of a request for an unknown event that `origin` signs with `key`."""
    target = "/_matrix/federation/v1/event/$x"
    request = x_matrix.SignedRequest("GET", target, origin.name, to.name)
    header = x_matrix.build(x_matrix.sign(request, key))
    async with to.http.get(to.url + target, headers={"Authorization": header}) as answer:
        return answer.status
