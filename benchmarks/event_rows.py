"""What the form of an event's row costs: ids as text or bytes, the signed bytes inside the row or in a table beside it.

    python -m benchmarks.event_rows [--small]

Prints bytes, WAL and rates for docs/decisions 0002 and 0003.
"""

import argparse
import asyncio
import base64
import os
import random
import tempfile
from pathlib import Path

from attrs import evolve, frozen

from benchmarks.postgres import postgres
from benchmarks.setting import machine
from benchmarks.state_storage.gauges import measured, size
from storage.database import Connection, connect_once
from storage.migrate import migrate

ROOMS, BATCH, PAGE, JSON_BYTES = 200, 50, 50, 700

_COLUMNS = """
INSERT INTO forms_events (event_nid, position, origin_server_ts, room_nid, sender_nid, state_sp, line_sp, status,
                          on_line, event_id, type, prev_nids, auth_nids{json})
SELECT n.nid, n.nid, 1700000000000 + n.nid, n.room, 7, 40, 40, 0, false, n.id, 'm.room.message',
       ARRAY[n.nid - 1], ARRAY[3, 4, 5]{value}
  FROM unnest($1::bigint[], $2::int[], $3::{kind}[], $4::bytea[]) AS n(nid, room, id, json)
"""
_BESIDE = "INSERT INTO forms_json SELECT * FROM unnest($1::bigint[], $2::bytea[])"
_PAGE = """
SELECT e.event_id, {json} FROM forms_events e {join}
 WHERE room_nid = $1 AND position <= $2 ORDER BY position DESC LIMIT 50
"""


@frozen
class Form:
    """A shape of the row."""

    name: str
    id_kind: str = "text"
    beside: bool = False

    @property
    def tables(self) -> list[str]:
        return ["forms_events", "forms_json"] if self.beside else ["forms_events"]

    async def prepare(self, conn: Connection) -> None:
        await conn.execute("CREATE TABLE forms_events (LIKE events INCLUDING ALL)")
        if self.id_kind == "bytea":
            await conn.execute("ALTER TABLE forms_events ALTER event_id TYPE bytea USING event_id::bytea")
        if self.beside:
            await conn.execute("ALTER TABLE forms_events DROP COLUMN json")
            await conn.execute("CREATE TABLE forms_json (event_nid bigint PRIMARY KEY, json bytea NOT NULL)")

    async def write(self, conn: Connection, rows: list[tuple[int, int, bytes, bytes]]) -> None:
        nids, rooms, digests, jsons = (list(column) for column in zip(*rows, strict=True))
        ids = digests if self.id_kind == "bytea" else [named(digest) for digest in digests]
        statement = _COLUMNS.format(
            json="" if self.beside else ", json",
            value="" if self.beside else ", n.json",
            kind=self.id_kind,
        )
        async with conn.transaction():
            await conn.execute(statement, nids, rooms, ids, jsons)
            if self.beside:
                await conn.execute(_BESIDE, nids, jsons)

    async def page(self, conn: Connection, room_nid: int, before: int) -> int:
        statement = (
            _PAGE.format(json="j.json", join="JOIN forms_json j USING (event_nid)")
            if self.beside
            else _PAGE.format(json="json", join="")
        )
        return len(await conn.fetch(statement, room_nid, before))


FORMS = (
    Form("text id, bytes inside (ours)"),
    Form("id of 32 bytes, bytes inside", id_kind="bytea"),
    Form("text id, bytes in a second table", beside=True),
)


def named(digest: bytes) -> str:
    return "$" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.event_rows")
    parser.add_argument("--small", action="store_true", help="a few seconds' run, to see that it works")
    count = 5_000 if parser.parse_args().small else 100_000
    with tempfile.TemporaryDirectory(prefix="homing-rows-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)  # noqa: PTH101 (PostgreSQL may run as another account)
        async with postgres(Path(name), "first") as cluster:
            print(machine(), f"PostgreSQL {await cluster.version()},", f"load {os.getloadavg()[0]:.1f}\n")
            print("| | bytes an event | WAL bytes an event | events a second | page of 50, ms |")
            print("| --- | ---: | ---: | ---: | ---: |")
            for number, form in enumerate(FORMS):
                await cluster.ask(f'CREATE DATABASE "form{number}"')
                conn = await connect_once(evolve(cluster, database=f"form{number}").url)
                await migrate(conn, report=lambda text: None)
                print(await line(conn, form, count))
                await conn.close()


async def line(conn: Connection, form: Form, count: int) -> str:
    """One form's row of the table."""
    rng = random.Random(2)
    await form.prepare(conn)
    async with measured(conn) as writing:
        for start in range(1, count, BATCH):
            rows = [
                (nid, rng.randrange(ROOMS), rng.randbytes(32), json(rng))
                for nid in range(start, start + BATCH)
            ]
            await form.write(conn, rows)
    stored = await size(conn, form.tables)
    pages = count // 100
    async with measured(conn) as reading:
        for _ in range(pages):
            await form.page(conn, rng.randrange(ROOMS), rng.randrange(count // 2, count))
    return (
        f"| {form.name} | {stored / count:,.0f} | {writing.wal / count:,.0f} |"
        f" {count / writing.seconds:,.0f} | {1e3 * reading.seconds / pages:.2f} |"
    )


def json(rng: random.Random) -> bytes:
    """As much of it as is not the same in every event: signatures, hashes, words."""
    return base64.b64encode(rng.randbytes(JSON_BYTES * 3 // 4))


if __name__ == "__main__":
    asyncio.run(main())
