"""Thousands of PDUs are checked by several processes: the outcome is that of one, also where the others fail."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from signedjson.key import generate_signing_key, get_verify_key

from federation import signature_process as processes
from federation.large_check import SLICE, LargeCheck
from federation.pdu_slices import claims, read, verified
from federation.signature_process import Lost, signature_process
from federation.verify import MANY, PduChecks
from homeserver.core.receipt_checks import Dropped, ServerKey
from homeserver.core.room_versions import V1, V12
from homeserver.services.judging import Arrival
from tests.federation.test_verify import KEY, NAME, NOW, Known, good_keys, pdu
from tests.kit.key_servers import DAY

OTHER_KEY = generate_signing_key("b_1")
OTHER = ("b.example", "ed25519:b_1")
COUNT = 3 * SLICE + 7


def both_keys():
    return Known(
        {
            NAME: ServerKey(get_verify_key(KEY), NOW + DAY),
            OTHER: ServerKey(get_verify_key(OTHER_KEY), NOW + DAY),
        }
    )


def mixed():
    """Events of two servers, of which the second speaks only later; some are forged, some are none."""
    pdus = [pdu(number) for number in range(2 * SLICE)]
    pdus += [pdu(n, key=OTHER_KEY, server="b.example", sender="@bob:b.example") for n in range(SLICE + 7)]
    bad = {
        5: {**pdu(5), "origin_server_ts": NOW - 5},
        SLICE: {**pdu(6), "signatures": {"a.example": {"ed25519:a_1": "!"}}},
        SLICE + 1: {"type": 5},
        2 * SLICE: pdu(7, key=KEY, server="b.example", sender="@bob:b.example"),
        COUNT - 1: pdu(8, key=generate_signing_key("b_1"), server="b.example", sender="@bob:b.example"),
    }
    for place, one in bad.items():
        pdus[place] = one
    return pdus, {*bad}


async def outcome(check, pdus):
    async with check.begun(pdus) as checking:
        return checking.unverified, await checking.outcome()


def large_check(ring, number, version=V12):
    return LargeCheck(ring, ThreadPoolExecutor(1), version, number)


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_as_by_one_process(number):
    pdus, bad = mixed()
    unverified, checked = await outcome(large_check(both_keys(), number), pdus)
    assert {place for place, one in enumerate(checked) if isinstance(one, Dropped)} == bad
    assert {place for place, one in enumerate(unverified) if isinstance(one, Dropped)} == {SLICE + 1}
    assert [orjson.loads(o.json) for o in checked if isinstance(o, Arrival)] == [
        one for place, one in enumerate(pdus) if place not in bad
    ]
    assert all(
        one is before for one, before in zip(checked, unverified, strict=True) if isinstance(one, Arrival)
    )


async def test_of_version_1():
    pdus = [pdu(number, V1) for number in range(SLICE + 1)]
    _, checked = await outcome(large_check(good_keys(), 1, V1), pdus)
    assert all(isinstance(one, Arrival) for one in checked)


async def test_what_a_process_has_found_out_is_not_computed_again(monkeypatch):
    keys = {NAME: ServerKey(get_verify_key(KEY), NOW + DAY)}
    found = read(V12, {}, [pdu(0), {**pdu(1), "origin_server_ts": NOW - 5}])
    async with signature_process() as process:
        true = await process.holding(claims(found, keys))
    assert true == claims(found[:1], keys)
    computed = []
    monkeypatch.setattr("federation.pdu_slices.signature_verifies", lambda *_: computed.append(1))
    passed, dropped = verified(keys, found, frozenset(true))
    assert isinstance(passed, Arrival)
    assert isinstance(dropped, Dropped)
    assert len(computed) == 1


@pytest.mark.parametrize(
    "program",
    ["no such program", "import sys; sys.exit(1)", "print('?' * 9999)", "import time; time.sleep(999)"],
)
async def test_a_process_that_fails_does_no_harm(monkeypatch, tmp_path, program):
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    broken = tmp_path / "program.py"
    broken.write_text(program)
    monkeypatch.setattr(processes, "_PROGRAM", broken)
    pdus, bad = mixed()
    _, checked = await outcome(large_check(both_keys(), 2), pdus)
    assert {place for place, one in enumerate(checked) if isinstance(one, Dropped)} == bad


async def test_a_process_that_cannot_start_does_no_harm(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    _, checked = await outcome(large_check(good_keys(), 1), [pdu(number) for number in range(COUNT)])
    assert all(isinstance(one, Arrival) for one in checked)


async def test_a_process_that_ends_midway_does_no_harm(monkeypatch):
    """Once while all is read, once when nobody else would do its work."""
    pdus, bad = mixed()
    check = large_check(both_keys(), 1)
    started = []
    monkeypatch.setattr(
        processes, "_start", lambda start=processes._start: started.append(start()) or started[0]
    )
    asked = processes.SignatureProcess._asked

    def ends(self, process, order, answers):
        process.kill()
        return asked(self, process, order, answers)

    monkeypatch.setattr(processes.SignatureProcess, "_asked", ends)
    _, checked = await outcome(check, pdus)
    assert {place for place, one in enumerate(checked) if isinstance(one, Dropped)} == bad
    assert started[0].returncode is not None


async def test_nothing_runs_on_after_the_block():
    async with signature_process() as process:
        assert await process.holding([]) == []
        started = await process._started
    assert started.returncode is not None
    with pytest.raises(Lost):
        await process.holding([(b"text", "A" * 86, b"k" * 32)])
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_whoever_leaves_early_is_not_kept():
    with pytest.raises(ConnectionError):
        async with large_check(both_keys(), 1).begun(mixed()[0]) as checking:
            waiting = asyncio.create_task(checking.outcome())
            await asyncio.sleep(0)
            raise ConnectionError
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_many_go_this_way_and_few_do_not(monkeypatch):
    seen = []
    monkeypatch.setattr("federation.large_check.verified", lambda *args: seen.append(1) or verified(*args))
    pdus = [pdu(number) for number in range(MANY)]
    assert len(await PduChecks(good_keys()).check(pdus[1:], V12)) == MANY - 1
    assert not seen
    assert len(await PduChecks(good_keys()).check(pdus, V12)) == MANY
    assert seen


def test_the_program_is_where_it_should_be():
    assert Path(processes.__file__).with_name("signature_program.py").exists()
