"""The key ring: where keys are found, how often anybody is asked, and what is not believed."""

import asyncio

import pytest
from signedjson.key import generate_signing_key, get_verify_key
from signedjson.sign import sign_json

from federation.keyring import own_keys
from federation.keys import lookups
from federation.protocol.key_responses import MAX_LIFETIME, RetiredKey
from homeserver.core.canonical_json import MAX_INTEGER
from homeserver.core.receipt_checks import ServerKey
from storage import server_keys
from tests.kit.key_servers import DAY, HOUR, NOW, OUR_NAME, SECOND, KeyNet


@pytest.fixture
def net():
    return KeyNet()


@pytest.fixture
def ring(net, database):
    return net.ring(database)


def usable(keys):
    return {name: key.valid_until_ts for name, key in keys.items() if not key.retired}


async def test_a_key_is_asked_for_once_and_for_all(net, ring, database):
    a = net.add("a.example")
    expected = {a.key_name: ServerKey(get_verify_key(a.key), NOW + DAY)}
    assert await ring.keys({a.key_name: NOW}) == expected
    assert await ring.keys({a.key_name: NOW}) == expected
    assert ring.at_hand({a.key_name: NOW}) == expected
    assert await net.ring(database).keys({a.key_name: NOW}) == expected  # another process, or after a restart
    assert net.asked == {"a.example": 1}


async def test_a_herd_asks_once(net, ring):
    a = net.add("a.example")
    net.gate.clear()
    herd = [asyncio.create_task(ring.keys({a.key_name: NOW})) for _ in range(100)]
    await net.until_asked()
    net.gate.set()
    assert all(a.key_name in keys for keys in await asyncio.gather(*herd))
    assert net.asked == {"a.example": 1}


async def test_all_servers_are_asked_at_once_and_the_dead_ones_are_missing(net, ring):
    live = [net.add(f"{number}.example") for number in range(20)]
    dead = [("dead.example", "ed25519:1"), ("gone.example", "ed25519:1")]
    wanted = dict.fromkeys([*(server.key_name for server in live), *dead], NOW)
    assert (await ring.keys(wanted)).keys() == {server.key_name for server in live}


async def test_the_number_of_questions_under_way_is_bounded(net, ring, monkeypatch):
    net.gate.clear()
    monkeypatch.setattr(lookups, "MAX_RUNNING", 100)
    wanted = {(f"{number}.example", "ed25519:1"): NOW for number in range(500)}
    asking = asyncio.create_task(ring.keys(wanted))
    await net.until_asked(lookups.AT_ONCE)
    assert len(net.asked) == lookups.AT_ONCE
    net.gate.set()
    assert await asking == {}
    assert len(net.asked) == 100


async def test_waiting_has_an_end(net, ring):
    a = net.add("a.example")
    net.gate.clear()
    assert await ring.keys({a.key_name: NOW}, patience=0.01) == {}
    net.gate.set()  # the question goes on, and who asks again gets its answer
    assert a.key_name in await ring.keys({a.key_name: NOW})
    assert net.asked == {"a.example": 1}


async def test_who_gives_up_disturbs_nobody(net, ring):
    a = net.add("a.example")
    net.gate.clear()
    first, second = (asyncio.create_task(ring.keys({a.key_name: NOW})) for _ in range(2))
    await net.until_asked()
    first.cancel()
    net.gate.set()
    assert a.key_name in await second


async def test_a_dead_server_is_left_alone_for_longer_and_longer(net, ring):
    name = ("dead.example", "ed25519:1")
    asked = []
    for _ in range(3000):
        await ring.keys({name: NOW})
        asked.append(net.asked["dead.example"])
        net.clock.go(5 * SECOND)
    assert asked[:7] == [1, 2, 3, 3, 3, 3, 4]  # at once, then after 5, 20, 80 … seconds
    assert asked[-1] == 10  # in four hours


async def test_a_server_that_speaks_is_asked_soon(net, ring):
    a = net.add("a.example", up=False)
    for _ in range(200):
        await ring.keys({a.key_name: NOW})
        net.clock.go(60 * SECOND)
    a.up = True
    assert await ring.keys({a.key_name: net.clock()}) == {}
    assert a.key_name in await ring.keys({a.key_name: net.clock()}, speaking=True)


async def test_unknown_key_ids_do_not_make_us_ask_without_end(net, ring):
    a = net.add("a.example")
    await ring.keys({a.key_name: NOW})
    for number in range(1000):
        await ring.keys({("a.example", f"ed25519:{number}"): NOW}, speaking=True)
    assert net.asked["a.example"] <= 5
    net.clock.go(31 * SECOND)
    a.rotate("new")
    assert a.key_name in await ring.keys({a.key_name: net.clock()}, speaking=True)


async def test_a_key_that_nobody_has_is_not_sought_again_at_once(net, ring):
    net.add("a.example")
    lost = ("a.example", "ed25519:lost")
    for _ in range(100):
        await ring.keys({lost: NOW})
        net.clock.go(30 * SECOND)
    assert net.asked["a.example"] < 6


@pytest.mark.parametrize(
    "name",
    [
        ("a.example", "ed25519:"),
        ("a.example", "ed25519:a b"),
        ("a.example", "ed25519:\x00"),
        ("a.example", "curve25519:1"),
        ("a.example", ""),
        ("a.example", "ed25519:policy_server"),
        ("a.example/..", "ed25519:1"),
        ("", "ed25519:1"),
        ("\x00", "ed25519:1"),
        ("a.example" * 100, "ed25519:1"),
    ],
)
async def test_what_can_be_no_key_is_not_sought(net, ring, name):
    assert await ring.keys({name: NOW}) == {}
    assert not net.asked


def forge(said):
    other = generate_signing_key("a_1")
    bare = {name: value for name, value in said.items() if name != "signatures"}
    return sign_json(bare, said["server_name"], other)


HOSTILE = {
    "wrong signature": forge,
    "another server": lambda said: {**said, "server_name": "b.example"},
    "no JSON": lambda said: b"<html>",
    "no object": lambda said: [said],
    "huge": lambda said: {**said, "more": "x" * 70_000},
    "floats": lambda said: {**said, "valid_until_ts": 1.5},
    "deep": lambda said: b'{"a":' * 10_000 + b"}" * 10_000,
    "nothing": lambda said: {},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_answers(net, ring, database, change):
    a = net.add("a.example", answer=change)
    assert await ring.keys({a.key_name: NOW}) == {}
    async with database.read() as conn:
        assert await server_keys.newest_answers(conn, ["a.example", "b.example"]) == []


async def test_too_many_keys_are_refused(net, ring):
    a = net.add("a.example")
    a.retired = [RetiredKey(get_verify_key(generate_signing_key(str(number))), NOW) for number in range(250)]
    assert await ring.keys({a.key_name: NOW}) == {}


async def test_keys_of_other_algorithms_are_passed_over(net, ring):
    a = net.add("a.example")

    def strange(said):
        bare = {name: value for name, value in said.items() if name != "signatures"}
        bare["verify_keys"] |= {"curve25519:x": {"key": "AAAA"}, "ed25519:bad": {"key": "AAAA"}, "x": 7}
        return sign_json(bare, "a.example", a.key)

    a.answer = strange
    wanted = {a.key_name: NOW, ("a.example", "ed25519:bad"): NOW}
    assert (await ring.keys(wanted)).keys() == {a.key_name}


async def test_no_more_than_seven_days_ahead(net, ring):
    a = net.add("a.example")

    def eternal(said):
        bare = {name: value for name, value in said.items() if name != "signatures"}
        return sign_json({**bare, "valid_until_ts": MAX_INTEGER}, "a.example", a.key)

    a.answer = eternal
    assert usable(await ring.keys({a.key_name: NOW})) == {a.key_name: NOW + MAX_LIFETIME}


async def test_an_expired_key_is_asked_for_again_and_given_when_nobody_answers(net, ring):
    a = net.add("a.example")
    await ring.keys({a.key_name: NOW})
    net.clock.go(2 * DAY)
    a.up = False
    assert usable(await ring.keys({a.key_name: net.clock()})) == {a.key_name: NOW + DAY}  # for old events
    a.up = True
    net.clock.go(HOUR)
    assert usable(await ring.keys({a.key_name: net.clock()})) == {a.key_name: net.clock() + DAY}


async def test_old_events_need_no_question(net, ring):
    a = net.add("a.example")
    await ring.keys({a.key_name: NOW})
    net.clock.go(100 * DAY)
    assert a.key_name in await ring.keys({a.key_name: NOW - DAY})
    assert net.asked == {"a.example": 1}


async def test_times_that_no_key_reaches_make_us_ask_nobody(net, ring):
    a = net.add("a.example")
    await ring.keys({a.key_name: NOW})
    assert a.key_name in await ring.keys({a.key_name: NOW + 30 * DAY})
    assert net.asked == {"a.example": 1}


async def test_keys_past_half_their_life_are_renewed_in_passing(net, ring):
    a = net.add("a.example")
    await ring.keys({a.key_name: NOW})
    net.clock.go(13 * HOUR)
    assert usable(ring.at_hand({a.key_name: net.clock()})) == {a.key_name: NOW + DAY}
    (question,) = ring.lookups.questions(["a.example"]).values()
    await question
    assert usable(ring.at_hand({a.key_name: net.clock()})) == {a.key_name: net.clock() + DAY}
    assert net.asked == {"a.example": 2}


async def test_a_rotated_key_is_for_old_events_only(net, ring):
    a = net.add("a.example")
    old = a.key_name
    await ring.keys({old: NOW})
    net.clock.go(HOUR)
    rotated = net.clock()
    a.rotate("new")
    keys = await ring.keys({a.key_name: net.clock()})
    assert usable(keys) == {a.key_name: net.clock() + DAY}
    (retired,) = (await ring.keys({old: NOW})).values()
    assert retired.retired
    assert retired.valid_until_ts == rotated


async def test_a_key_that_is_published_no_more_stays_known(net, ring, database):
    a = net.add("a.example")
    old = a.key_name
    await ring.keys({old: NOW})
    net.clock.go(1)
    a.rotate("new")
    a.retired.clear()
    await ring.keys({a.key_name: NOW})
    assert (await net.ring(database).keys({old: NOW})).keys() == {old}
    async with database.read() as conn:  # both answers are kept, for each is the last with some key
        answers = await server_keys.answers_with(conn, [old, a.key_name])
    assert len(answers) == 2


async def test_answers_without_a_key_of_their_own_go(net, ring, database):
    a = net.add("a.example")
    await ring.keys({a.key_name: NOW})
    net.clock.go(2 * DAY)
    await ring.keys({a.key_name: net.clock()})
    assert await database_count(database) == 1


async def database_count(database):
    async with database.read() as conn:
        return await conn.fetchval("SELECT count(*) FROM server_key_answers")


async def test_our_own_keys(net, database):
    key, old = generate_signing_key("k"), generate_signing_key("old")
    own = own_keys(OUR_NAME, key, [RetiredKey(get_verify_key(old), 5)])
    ring = net.ring(database, own=own)
    wanted = {(OUR_NAME, f"ed25519:{version}"): NOW for version in ("k", "old", "other")}
    assert await ring.keys(wanted) == {
        (OUR_NAME, "ed25519:k"): ServerKey(get_verify_key(key), MAX_INTEGER),
        (OUR_NAME, "ed25519:old"): ServerKey(get_verify_key(old), 5, retired=True),
    }
    assert not net.asked


async def test_memory_is_bounded(net, ring):
    ring.records.memory.max_keys = 3
    servers = [net.add(f"{number}.example") for number in range(5)]
    wanted = {server.key_name: NOW for server in servers}
    assert (await ring.keys(wanted)).keys() == wanted.keys()
    assert ring.at_hand({servers[0].key_name: NOW}) is None or ring.at_hand(wanted) is None
    assert (await ring.keys(wanted)).keys() == wanted.keys()
    assert net.asked.total() == 5


# --- notaries


async def test_a_notary_tells_what_the_server_does_not(net, database):
    ring = net.ring(database, notaries=("mute.example", "n.example"))
    a, _ = net.add("a.example", up=False), net.add("n.example")
    lost = ("lost.example", "ed25519:1")
    assert usable(await ring.keys({a.key_name: NOW, lost: NOW})) == {a.key_name: NOW + DAY}
    assert [notary for notary, _ in net.queries] == ["n.example"]  # the mute one has not even keys
    assert set(net.queries[0][1]) == {"a.example", "lost.example"}
    assert a.key_name in await net.ring(database).keys({a.key_name: NOW})


async def test_notaries_are_asked_once_by_a_herd(net, database):
    ring = net.ring(database, notaries=("n.example",))
    a, _ = net.add("a.example", up=False), net.add("n.example")
    await asyncio.gather(*(ring.keys({a.key_name: NOW}) for _ in range(50)))
    assert len(net.queries) == 1
    await asyncio.gather(*(ring.keys({("gone.example", "ed25519:1"): NOW}) for _ in range(50)))
    await ring.keys({("gone.example", "ed25519:1"): NOW})
    assert len(net.queries) == 2


async def test_a_query_names_a_bounded_number_of_servers(net, database):
    ring = net.ring(database, notaries=("n.example",))
    net.add("n.example")
    down = [net.add(f"{number}.example", up=False) for number in range(250)]
    keys = await ring.keys({server.key_name: NOW for server in down})
    assert len(keys) == 250
    assert sorted(len(query) for _, query in net.queries) == [50, 100, 100]


async def test_a_notary_that_does_not_sign_with_its_own_key_is_not_believed(net, database):
    ring = net.ring(database, notaries=("n.example",))
    a, notary = net.add("a.example", up=False), net.add("n.example")
    await ring.keys({notary.key_name: NOW})
    notary.key = generate_signing_key("a_1")  # as if somebody else answered in its place
    assert await ring.keys({a.key_name: NOW}) == {}


async def test_a_notary_does_not_revive_a_retired_key(net, database):
    ring = net.ring(database, notaries=("n.example",))
    a, _ = net.add("a.example"), net.add("n.example")
    old, before = a.key_name, a.says()
    net.clock.go(HOUR)
    a.rotate("new")
    await ring.keys({a.key_name: net.clock()})
    net.clock.go(2 * DAY)
    a.up, a.answer = False, lambda said: before  # what the notary has kept
    await ring.keys({("a.example", "ed25519:other"): net.clock()})
    for known in (ring, net.ring(database)):
        (key,) = (await known.keys({old: NOW})).values()
        assert key.retired


async def test_the_end_of_the_server_ends_questions(net, ring):
    net.gate.clear()
    running = asyncio.create_task(ring.lookups.run())
    asking = asyncio.create_task(ring.keys({("a.example", "ed25519:1"): NOW}))
    await net.until_asked()
    running.cancel()
    await asyncio.wait([running])
    with pytest.raises(asyncio.CancelledError):
        await asking
