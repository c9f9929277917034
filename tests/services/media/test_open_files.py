"""Files are read at once where the system has them in memory, and by threads where it has not."""

import asyncio
import os
from pathlib import Path

import pytest

from homeserver.services.media import open_files
from homeserver.services.media.files import ContentFiles
from homeserver.services.media.open_files import MOST, PIECE, OpenFiles
from storage.media import Content


@pytest.fixture
def files(tmp_path):
    return ContentFiles(tmp_path / "media")


async def kept(files: ContentFiles, content: bytes) -> Content:
    async def pieces():
        yield content

    async with files.drafted(pieces(), most=len(content)) as draft:
        await files.settle(draft, lasting=True)
        return draft.content


async def read(files: ContentFiles, content: Content) -> bytes:
    return b"".join([piece async for piece in files.read(content, 0, content.size)])


def links() -> list[Path]:
    """What this process has open."""
    return [number.readlink() for number in Path("/proc/self/fd").iterdir() if number.is_symlink()]


async def left_open(folder: Path) -> int:
    """How many files below the folder are open once no thread and no turn of the loop holds one: ask this last."""
    await asyncio.get_running_loop().shutdown_default_executor()
    await asyncio.sleep(0)
    return sum(link.is_relative_to(folder) for link in links())


PREADV = os.preadv


def has_nothing(*_):
    """The disk would have to be asked."""
    raise BlockingIOError


def has_the_beginning(number, buffers, start, flags):
    return PREADV(number, [buffers[0][:1000]], start, flags) if start < PIECE else has_nothing()


@pytest.mark.parametrize("at_once", [has_nothing, has_the_beginning, None])
async def test_the_bytes_are_the_same_whoever_reads_them(files, monkeypatch, at_once):
    written = os.urandom(2 * PIECE + 17)
    content = await kept(files, written)
    if at_once is None:  # a system that makes no such promise
        monkeypatch.setattr(open_files, "_AT_ONCE", None)
    else:
        monkeypatch.setattr(open_files.os, "preadv", at_once)
    assert await read(files, content) == written
    assert b"".join([piece async for piece in files.read(content, 5, PIECE + 9)]) == written[5 : PIECE + 9]


async def test_systems_that_remove_no_open_file_keep_none(files, monkeypatch):
    monkeypatch.setattr(open_files, "_STAYS_OPEN", False)
    content = await kept(files, b"content")
    assert await read(files, content) == b"content"
    assert await left_open(files.folder) == 0


async def test_a_file_that_was_cut_is_never_taken_for_whole(files):
    content = await kept(files, b"content")
    assert await files.holds(content)
    os.truncate(files.path(content.digest), 3)
    with pytest.raises(OSError, match="shorter"):
        await read(files, content)
    assert not await files.holds(content)


async def test_a_file_that_was_read_stays_open(files):
    assert await files.holds(await kept(files, b"content"))
    assert await left_open(files.folder) == 1


async def test_what_is_removed_is_closed(files):
    content = await kept(files, b"content")
    assert await files.holds(content)
    await files.remove([content.digest])
    assert not await files.holds(content)
    assert await left_open(files.folder) == 0


async def opened_many(folder: Path) -> OpenFiles:
    opened = OpenFiles()
    for number in range(MOST + 5):
        path = folder / str(number)
        path.write_bytes(b"x")
        await opened.whole(b"%d" % number, path, 1)
    return opened


async def test_few_files_stay_open(tmp_path):
    opened = await opened_many(tmp_path)
    assert await left_open(tmp_path) == MOST
    assert opened


async def test_files_stay_open_for_a_while_only(tmp_path, monkeypatch):
    monkeypatch.setattr(open_files, "LASTS", 0.0)
    opened = await opened_many(tmp_path)
    opened._close_old()
    assert await left_open(tmp_path) == 0
