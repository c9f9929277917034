"""Design D: a persistent tree of states, each node stored once under the hash of its content.

A trie over mixed-up key numbers, so that the same state is the same tree however it came about: inner nodes of up to
32 hashes, leaves of up to 64 (key, event) pairs. A change makes a new node on each level; the newest tree of each room
is in memory. `born` is when a node was last made: all that is younger than a purge's limit stays.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import define, field, frozen

from benchmarks.state_storage.design import Change
from storage.database import Connection

MAX_LEAF = 64
_PAIR = struct.Struct("<iq")

_SCHEMA = """
CREATE TABLE state_nodes (
    born     bigint NOT NULL,
    room_nid int NOT NULL,
    hash     bytea NOT NULL,
    node     bytea NOT NULL,
    PRIMARY KEY (room_nid, hash)
)
"""
_INSERT = """
INSERT INTO state_nodes AS old (room_nid, born, hash, node)
SELECT * FROM unnest($1::int[], $2::bigint[], $3::bytea[], $4::bytea[])
ON CONFLICT (room_nid, hash) DO UPDATE SET born = excluded.born
"""
_READ = "SELECT hash, node FROM state_nodes WHERE room_nid = $1 AND hash = ANY($2::bytea[])"


@frozen(eq=False)
class Leaf:
    """Up to 64 entries; more only where no digit tells them apart any more."""

    entries: Mapping[int, int]


@frozen(eq=False)
class Inner:
    """Up to 32 nodes by the digit of their keys on this level, with their hashes."""

    children: "tuple[tuple[bytes, Leaf | Inner] | None, ...]"


Node = Leaf | Inner


@frozen
class Root:
    """A state: the hash of its tree, and when it was made."""

    born: int
    hash: bytes


@define
class Tree:
    """`state_nodes`."""

    name: str = "D: tree"
    tables: tuple[str, ...] = ("state_nodes",)
    ref_bytes: int = 17
    _newest: dict[int, Node] = field(factory=dict)
    _clock: int = 0

    async def prepare(self, conn: Connection, changes: Sequence[Change]) -> None:
        del changes
        await conn.execute(_SCHEMA)

    async def seed(self, conn: Connection, room_nid: int, entries: Mapping[int, int]) -> Root:
        made: dict[bytes, bytes] = {}
        top = _built(dict(entries), 0)
        _store_all(top, made)
        self._newest[room_nid] = top
        self._clock += 1
        root = Root(self._clock, _encoded(top)[0])
        await _insert(conn, [(room_nid, root.born, *node) for node in made.items()])
        return root

    async def write(self, conn: Connection, changes: Sequence[Change]) -> list[Root]:
        roots, rows = [], []
        for change in changes:
            top = self._newest.get(change.room_nid, Leaf({}))
            root, top = self._changed(top, change, rows)
            self._newest[change.room_nid] = top
            roots.append(root)
        await _insert(conn, rows)
        return roots

    async def branch(self, conn: Connection, room_nid: int, changes: Sequence[Change]) -> list[Root]:
        roots = []
        top = self._newest[room_nid]
        for change in changes:
            rows: list[tuple[int, int, bytes, bytes]] = []
            root, top = self._changed(top, change, rows)
            await _insert(conn, rows)
            roots.append(root)
        return roots

    async def keyed(self, conn: Connection, room_nid: int, ref: Root, key_nid: int) -> int | None:
        hash_, level = ref.hash, 0
        while True:
            node = (await _read(conn, room_nid, [hash_]))[hash_]
            if isinstance(node, dict):
                return node.get(key_nid)
            below = node[_digit(key_nid, level)]
            if below is None:
                return None
            hash_, level = below, level + 1

    async def whole(self, conn: Connection, room_nid: int, ref: Root) -> dict[int, int]:
        entries: dict[int, int] = {}
        level = [ref.hash]
        while level:
            nodes = (await _read(conn, room_nid, level)).values()
            for node in nodes:
                if isinstance(node, dict):
                    entries |= node
            level = [hash_ for node in nodes if isinstance(node, list) for hash_ in node if hash_]
        return entries

    async def differences(self, conn: Connection, room_nid: int, one: Root, other: Root) -> set[int]:
        left, right = [one.hash], [other.hash]
        entries: list[dict[int, int]] = [{}, {}]
        while left or right:
            nodes = await _read(conn, room_nid, {*left, *right})
            below: list[set[bytes]] = []
            for side, hashes in enumerate((left, right)):
                below.append(set())
                for node in (nodes[hash_] for hash_ in hashes):
                    if isinstance(node, dict):
                        entries[side] |= node
                    else:
                        below[side].update(hash_ for hash_ in node if hash_)
            left, right = list(below[0] - below[1]), list(below[1] - below[0])
        return {key for key in entries[0] | entries[1] if entries[0].get(key) != entries[1].get(key)}

    async def purge(self, conn: Connection, room_nid: int, ref: Root) -> int:
        """Walk the oldest tree that stays; what is neither in it nor younger goes."""
        kept, level = {ref.hash}, [ref.hash]
        while level:
            nodes = (await _read(conn, room_nid, level)).values()
            level = [hash_ for node in nodes if isinstance(node, list) for hash_ in node if hash_]
            kept.update(level)
        done = await conn.execute(
            "DELETE FROM state_nodes WHERE room_nid = $1 AND born <= $2 AND hash <> ALL($3::bytea[])",
            room_nid,
            ref.born,
            list(kept),
        )
        return int(done.split()[-1])

    def _changed(
        self, top: Node, change: Change, rows: list[tuple[int, int, bytes, bytes]]
    ) -> tuple[Root, Node]:
        self._clock += 1
        made: dict[bytes, bytes] = {}
        hash_, top = _with(top, change, 0, made.__setitem__)
        rows += [(change.room_nid, self._clock, *node) for node in made.items()]
        return Root(self._clock, hash_), top


def _digit(key_nid: int, level: int) -> int:
    return (((key_nid * 0x9E3779B1) & 0xFFFFFFFF) >> max(27 - 5 * level, 0)) & 31


def _built(entries: dict[int, int], level: int) -> Node:
    if len(entries) <= MAX_LEAF or level > 5:
        return Leaf(entries)
    parts: dict[int, dict[int, int]] = {}
    for key, event in entries.items():
        parts.setdefault(_digit(key, level), {})[key] = event
    below = {digit: _built(part, level + 1) for digit, part in parts.items()}
    return Inner(tuple((_encoded(below[d])[0], below[d]) if d in below else None for d in range(32)))


def _with(node: Node, change: Change, level: int, made: Callable[[bytes, bytes], None]) -> tuple[bytes, Node]:
    """The node with one entry changed; new nodes are told to `made`."""
    new: Node
    if isinstance(node, Leaf):
        new = _built({**node.entries, change.key_nid: change.event_nid}, level)
        if isinstance(new, Inner):
            below: dict[bytes, bytes] = {}
            _store_all(new, below)
            for one in below.items():
                made(*one)
    else:
        digit = _digit(change.key_nid, level)
        child = node.children[digit]
        changed = _with(Leaf({}) if child is None else child[1], change, level + 1, made)
        new = Inner((*node.children[:digit], changed, *node.children[digit + 1 :]))
    hash_, data = _encoded(new)
    made(hash_, data)
    return hash_, new


def _store_all(node: Node, made: dict[bytes, bytes]) -> None:
    hash_, data = _encoded(node)
    made[hash_] = data
    if isinstance(node, Inner):
        for child in node.children:
            if child is not None:
                _store_all(child[1], made)


def _encoded(node: Node) -> tuple[bytes, bytes]:
    if isinstance(node, Leaf):
        data = b"\0" + b"".join(_PAIR.pack(*entry) for entry in sorted(node.entries.items()))
    else:
        bitmap = sum(1 << digit for digit, child in enumerate(node.children) if child is not None)
        data = b"\1" + bitmap.to_bytes(4, "little") + b"".join(child[0] for child in node.children if child)
    return hashlib.sha256(data).digest()[:16], data


def _decoded(data: bytes) -> dict[int, int] | list[bytes | None]:
    if data[0] == 0:
        return dict(_PAIR.iter_unpack(data[1:]))
    bitmap, hashes = int.from_bytes(data[1:5], "little"), iter(range(5, len(data), 16))
    return [
        data[at : at + 16] if bitmap >> digit & 1 and (at := next(hashes)) else None for digit in range(32)
    ]


async def _insert(conn: Connection, rows: Iterable[tuple[int, int, bytes, bytes]]) -> None:
    unique = {(row[0], row[2]): row for row in rows}
    await conn.execute(_INSERT, *(list(column) for column in zip(*unique.values(), strict=True)))


async def _read(
    conn: Connection, room_nid: int, hashes: Iterable[bytes]
) -> dict[bytes, dict[int, int] | list[bytes | None]]:
    rows = await conn.fetch(_READ, room_nid, list(hashes))
    return {row[0]: _decoded(row[1]) for row in rows}
