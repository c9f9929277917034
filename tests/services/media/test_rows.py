"""Remembered rows of media: what is withdrawn is not handed out from memory, in no process."""

import asyncio

import pytest

from homeserver.core.errors import MatrixError
from homeserver.services.media import rows
from homeserver.services.media.files import ContentFiles
from homeserver.services.media.keeping import Keeping
from homeserver.services.media.library import Announced, Library
from homeserver.services.media.removal import Removal
from homeserver.services.media.shelf import Shelf
from storage import media, media_thumbnails
from storage.media import Label, MediaName
from storage.media_thumbnails import Size, Thumbnail

NAME = MediaName("far.example", "a")
SIZE = Size(96, 96, False, False)
NOW = 1_000_000_000


@pytest.fixture
def shelf(database, tmp_path):
    return Shelf(database, ContentFiles(tmp_path / "media"))


@pytest.fixture
def elsewhere(shelf):
    """The same media, in another process."""
    return Shelf(shelf.database, ContentFiles(shelf.files.folder))


async def content():
    yield b"content"


async def kept(shelf: Shelf, name: MediaName = NAME):
    keeping = Keeping(shelf, remote_bytes=1000, clock=lambda: NOW)
    async with shelf.files.drafted(content(), most=100) as draft:
        return await keeping.keep(name, draft, Label("text/plain"), authenticated=True)


async def take_away(shelf: Shelf) -> None:
    """Without a word to anybody."""
    async with shelf.database.transaction() as conn:
        await conn.execute("DELETE FROM media")
        await conn.execute("DELETE FROM media_thumbnails")


async def lose(shelf: Shelf) -> None:
    medium = await shelf.rows.medium(NAME)
    shelf.files.path(medium.content.digest).write_bytes(b"cut")
    shelf.files.opened.forget([medium.content.digest])
    assert not await Keeping(shelf, remote_bytes=1000).is_whole(medium)


WITHDRAWALS = {
    "quarantine": lambda shelf: Removal(shelf).quarantine(NAME),
    "delete": lambda shelf: Removal(shelf).delete(NAME),
    "delete_copies": lambda shelf: Removal(shelf).delete_copies(NOW + 1),
    "tidy": lambda shelf: Keeping(shelf, remote_bytes=0).tidy(),
    "lose": lose,
}


async def found(shelf: Shelf) -> bool:
    try:
        return await Library(shelf, Announced()).find(NAME) is not None
    except MatrixError as refusal:
        if refusal.status != 404:
            raise
        return False


async def test_rows_are_read_once(shelf):
    medium = await kept(shelf)
    drawn = Thumbnail(medium.content, "image/png")
    async with shelf.database.writer() as conn:
        await media_thumbnails.insert(conn, medium.content.digest, SIZE, drawn)
    assert await shelf.rows.medium(NAME) == medium
    assert await shelf.rows.thumbnail(medium.content, SIZE) == drawn
    await take_away(shelf)
    assert await shelf.rows.medium(NAME) == medium
    assert await shelf.rows.thumbnail(medium.content, SIZE) == drawn
    shelf.rows.forget()
    assert await shelf.rows.medium(NAME) is None
    assert await shelf.rows.thumbnail(medium.content, SIZE) is None


@pytest.mark.parametrize("withdraw", WITHDRAWALS.values(), ids=WITHDRAWALS)
async def test_what_is_withdrawn_is_gone_at_once(shelf, withdraw):
    await kept(shelf)
    assert await found(shelf)
    await withdraw(shelf)
    assert not await found(shelf)


@pytest.mark.parametrize("withdraw", WITHDRAWALS.values(), ids=WITHDRAWALS)
async def test_other_processes_hear_of_it_at_their_next_look(shelf, elsewhere, monkeypatch, withdraw):
    await kept(shelf)
    assert await found(elsewhere)
    await withdraw(shelf)
    monkeypatch.setattr(rows, "LOOK_EVERY", 0.0)
    assert not await found(elsewhere)


async def test_between_two_looks_nobody_is_asked(shelf, elsewhere, monkeypatch):
    monkeypatch.setattr(rows, "LOOK_EVERY", 3600.0)
    await kept(shelf)
    assert await found(elsewhere)
    await Removal(shelf).quarantine(NAME)
    assert await found(elsewhere)


async def test_what_is_free_again_is_found(shelf):
    await kept(shelf)
    await Removal(shelf).quarantine(NAME)
    assert not await found(shelf)
    await Removal(shelf).release(NAME)
    assert await found(shelf)


async def test_what_is_missing_is_looked_for_each_time(shelf):
    assert not await found(shelf)
    await kept(shelf)
    assert await found(shelf)


async def test_what_is_withdrawn_while_it_is_read_is_not_remembered(shelf, monkeypatch):
    await kept(shelf)
    read, withdrawn, find = asyncio.Event(), asyncio.Event(), media.find

    async def slowly(conn, name):
        medium = await find(conn, name)
        read.set()
        await withdrawn.wait()
        return medium

    monkeypatch.setattr(rows.media, "find", slowly)
    reading = asyncio.create_task(shelf.rows.medium(NAME))
    await read.wait()
    await Removal(shelf).quarantine(NAME)
    withdrawn.set()
    assert await reading is not None  # as it was asked before
    assert not await found(shelf)


async def test_only_so_many_are_remembered(shelf, monkeypatch):
    monkeypatch.setattr(rows, "MAX_REMEMBERED", 2)
    names = [MediaName("far.example", media_id) for media_id in "abc"]
    for name in names:
        await kept(shelf, name)
        await shelf.rows.medium(name)
    await take_away(shelf)
    assert [await shelf.rows.medium(name) is not None for name in names] == [False, True, True]


async def test_a_use_is_noted_once_an_hour(shelf, monkeypatch):
    await kept(shelf)
    now, noted, used = [NOW + 4_000_000], [], media.used

    async def noting(conn, name, when):
        noted.append(when)
        await used(conn, name, when)

    monkeypatch.setattr(media, "used", noting)
    library = Library(shelf, Announced(), clock=lambda: now[0])
    for later in (0, 1, 3_600_000):
        now[0] += later
        await library.used(await library.find(NAME))
    assert noted == [NOW + 4_000_000, NOW + 7_600_001]
