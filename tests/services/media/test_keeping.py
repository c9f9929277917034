"""Files and rows are kept in step: over crashes, races, deletions and when space runs out."""

import asyncio
import os

import pytest

from homeserver.core.errors import MatrixError
from homeserver.services.media.files import ContentFiles, TooMuch
from homeserver.services.media.keeping import Keeping
from homeserver.services.media.library import Announced, Library
from homeserver.services.media.shelf import Shelf
from homeserver.services.media.uploads import MediaLimits, Uploads
from storage import media
from storage.media import OURS, Content, Label, MediaName

PLAIN = Label("text/plain")


class Crash(Exception):
    """The process ends here."""


async def pieces(content: bytes):
    for begin in range(0, len(content), 1000):
        yield content[begin : begin + 1000]


def on_disk(shelf: Shelf) -> int:
    return len(list(shelf.files.folder.glob("??/??/*")))


@pytest.fixture
def shelf(database, tmp_path):
    return Shelf(database, ContentFiles(tmp_path / "media"))


@pytest.fixture
def uploads(shelf):
    return Uploads(shelf, Announced(), MediaLimits(upload_bytes=10_000))


async def copied(keeping: Keeping, media_id: str, content: bytes):
    """Keep a copy of a peer's medium."""
    async with keeping.shelf.files.drafted(pieces(content), most=10_000) as draft:
        name = MediaName("far.example", media_id)
        return await keeping.keep(name, draft, PLAIN, authenticated=True)


async def names(shelf: Shelf) -> list[str]:
    async with shelf.database.read() as conn:
        rows = await conn.fetch("SELECT media_id FROM media ORDER BY 1")
    return [row["media_id"] for row in rows]


async def test_a_file_is_read_as_it_was_written(shelf, uploads):
    content = os.urandom(9_500)
    media_id = await uploads.upload(1, pieces(content), PLAIN)
    found = await Library(shelf, Announced()).find(MediaName(OURS, media_id))
    assert found.content.size == 9_500
    for start, end in ((0, 9_500), (17, 17), (100, 9_499)):
        read = b"".join([piece async for piece in shelf.files.read(found.content, start, end)])
        assert read == content[start:end]


async def test_too_much_leaves_nothing(shelf):
    with pytest.raises(TooMuch):
        async with shelf.files.drafted(pieces(b"x" * 10_001), most=10_000):
            raise AssertionError("too much was taken")
    assert not list(shelf.files.drafts.iterdir())


async def test_a_crash_between_file_and_row_leaves_no_row(shelf, uploads, monkeypatch):
    """Whether it comes before or after the file is in its place."""

    async def before(self, draft, *, lasting):
        raise Crash

    async def after(self, draft, *, lasting):
        await settle(self, draft, lasting=lasting)
        raise Crash

    settle = ContentFiles.settle
    for moment in (before, after):
        monkeypatch.setattr(ContentFiles, "settle", moment)
        with pytest.raises(Crash):
            await uploads.upload(1, pieces(b"content"), PLAIN)
        assert await names(shelf) == []
    assert on_disk(shelf) == 1
    assert await shelf.sweep() == 0  # somebody may be about to write its row
    assert await shelf.sweep(lambda: 1e12) == 1
    assert on_disk(shelf) == 0


async def test_the_sweep_spares_what_has_a_row(shelf, uploads):
    await uploads.upload(1, pieces(b"content"), PLAIN)
    assert await shelf.sweep(lambda: 1e12) == 0
    assert on_disk(shelf) == 1


async def test_a_file_stays_while_anybody_has_it(shelf, uploads):
    one = await uploads.upload(1, pieces(b"same"), PLAIN)
    other = await uploads.upload(2, pieces(b"same"), PLAIN)
    for media_id, left in ((one, 1), (other, 0)):
        async with shelf.database.transaction() as conn:
            orphans = await media.delete(conn, MediaName(OURS, media_id))
        await shelf.drop(orphans)
        assert on_disk(shelf) == left


async def test_deleting_and_uploading_the_same_at_once(shelf, uploads):
    """Whatever comes first, a row that is there has its file."""

    async def delete(media_id):
        async with shelf.database.transaction() as conn:
            orphans = await media.delete(conn, MediaName(OURS, media_id))
        await shelf.drop(orphans)

    for turn in range(10):
        first = await uploads.upload(1, pieces(b"same"), PLAIN)
        _, second = await asyncio.gather(delete(first), uploads.upload(2, pieces(b"same"), PLAIN))
        assert on_disk(shelf) == 1, turn
        await delete(second)


async def test_only_one_fills_an_id(shelf, uploads):
    media_id, _ = await uploads.announce(1)
    filling = [uploads.fill(media_id, 1, pieces(b"%d" % n), PLAIN) for n in range(4)]
    outcomes = await asyncio.gather(*filling, return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, MatrixError)]
    assert [one.errcode for one in refused] == ["M_CANNOT_OVERWRITE_MEDIA"] * 3


async def test_copies_that_nobody_wants_go_first(shelf, uploads):
    times = iter(range(1000, 2000))
    keeping = Keeping(shelf, remote_bytes=25, clock=lambda: next(times))
    ours = await uploads.upload(1, pieces(b"x" * 5000), PLAIN)
    for media_id in ("a", "b", "c"):
        await copied(keeping, media_id, media_id.encode() * 10)
    async with shelf.database.transaction() as conn:
        await media.used(conn, MediaName("far.example", "a"), 5000)
    assert await keeping.tidy() == 1
    assert await names(shelf) == sorted(["a", "c", ours])
    assert on_disk(shelf) == 3
    assert await keeping.tidy() == 0


async def test_unused_ids_expire(shelf, uploads):
    await uploads.announce(1)
    kept, _ = await uploads.announce(1)
    await uploads.fill(kept, 1, pieces(b"content"), PLAIN)
    await Keeping(shelf, remote_bytes=0, clock=lambda: 2**60).tidy()
    assert await names(shelf) == [kept]


async def test_the_copy_that_came_first_is_kept(shelf):
    keeping = Keeping(shelf, remote_bytes=1000)
    first = await copied(keeping, "a", b"first")
    assert (await copied(keeping, "a", b"second")).content == first.content


async def test_a_copy_whose_file_is_lost_is_forgotten(shelf):
    keeping = Keeping(shelf, remote_bytes=1000)
    medium = await copied(keeping, "a", b"content")
    shelf.files.path(medium.content.digest).write_bytes(b"cut")
    assert not await keeping.is_whole(medium)
    assert await names(shelf) == []


async def test_quarantine_holds_for_the_same_content(shelf, uploads):
    library = Library(shelf, Announced())
    one = await uploads.upload(1, pieces(b"bad"), PLAIN)
    other = await uploads.upload(2, pieces(b"bad"), PLAIN)
    async with shelf.database.transaction() as conn:
        assert await media.quarantine(conn, MediaName(OURS, one), quarantined=True) == 2
    later = await uploads.upload(3, pieces(b"bad"), PLAIN)
    for media_id in (one, other, later):
        with pytest.raises(MatrixError, match="M_NOT_FOUND"):
            await library.find(MediaName(OURS, media_id))
    good = await uploads.upload(3, pieces(b"good"), PLAIN)
    assert await library.find(MediaName(OURS, good))


async def test_a_missing_file_has_no_size(shelf):
    assert not await shelf.files.holds(Content(b"\0" * 32, 5))
