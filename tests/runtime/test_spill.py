"""Payloads in memory up to a cap, and in files above it: none is lost and no file stays behind."""

from __future__ import annotations

import array
import asyncio
import logging
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.runtime.spill import Shelf, SpillFolder
from meshgen.types import Payload
from tests.runtime.replicas import settle, short_folder, until

_PARTS = st.lists(st.binary(max_size=40), min_size=1, max_size=5)


def _nothing() -> None:
    """Nobody wants to know."""


def _shelf(folder: Path, capacity: int = 0, retry_seconds: float = 10.0) -> Shelf:
    return Shelf(capacity, folder, _nothing, retry_seconds=retry_seconds)


def _is_empty(folder: Path) -> bool:
    return not list(folder.iterdir())


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def _spilled(shelf: Shelf, key: str, payload: Payload) -> None:
    """Put a payload and wait until it is on disk."""
    before = shelf.spilled_bytes
    shelf.put(key, payload)
    await until(lambda: shelf.spilled_bytes == before + payload.size)


@given(_PARTS)
def test_any_payload_comes_back_from_its_file(parts: list[bytes]) -> None:
    """Empty parts included; the buffers are writable."""
    with short_folder() as root:
        folder = SpillFolder(root)
        back = folder.read(folder.write(Payload(parts[0], parts[1:])))
        assert [bytes(part) for part in (back.pickle, *back.buffers)] == parts
        assert all(isinstance(buffer, bytearray) for buffer in back.buffers)
        folder.close()
        assert not list(root.iterdir())


def test_a_payload_of_many_pieces_comes_back(tmp_path: Path) -> None:
    """Files are moved piece by piece, across whole buffers."""
    large = bytes(range(256)) * 40_000
    folder = SpillFolder(tmp_path)
    back = folder.read(folder.write(Payload(b"p", [large, b"tail"])))
    assert [bytes(buffer) for buffer in back.buffers] == [large, b"tail"]


def test_buffers_of_wide_elements_come_back_as_their_bytes(tmp_path: Path) -> None:
    """A view of numbers is its memory."""
    wide = memoryview(array.array("q", [1, 2]))
    folder = SpillFolder(tmp_path)
    back = folder.read(folder.write(Payload(b"p", [wide])))
    assert bytes(back.buffers[0]) == wide.tobytes()


def test_a_view_of_no_elements_comes_back_empty(tmp_path: Path) -> None:
    """An array may have a side of length nought."""
    empty = memoryview(array.array("q"))
    folder = SpillFolder(tmp_path)
    assert folder.read(folder.write(Payload(b"p", [empty]))).buffers == [b""]


def test_what_a_payload_refers_to_comes_back_with_it(tmp_path: Path) -> None:
    """The very objects: they are alive in this process."""
    reference: Any = object()
    folder = SpillFolder(tmp_path)
    back = folder.read(folder.write(Payload(b"p", (), [reference])))
    assert list(back.references) == [reference]


def test_files_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    """The folder may be below a temporary folder that all users share."""
    folder = SpillFolder(tmp_path)
    path = folder.write(Payload(b"secret")).path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_parent_folder_is_made_when_it_is_missing(tmp_path: Path) -> None:
    """And by the first file, not before."""
    folder = SpillFolder(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    assert folder.write(Payload(b"x")).path.is_relative_to(tmp_path / "a" / "b")


def test_without_a_parent_files_go_to_the_temporary_folder() -> None:
    """The one that the system names."""
    folder = SpillFolder(None)
    assert folder.write(Payload(b"x")).path.is_relative_to(tempfile.gettempdir())
    folder.close()


def test_a_folder_deleted_by_others_is_made_again(tmp_path: Path) -> None:
    """Temporary folders are swept."""
    folder = SpillFolder(tmp_path)
    path = folder.write(Payload(b"x")).path
    path.unlink()
    path.parent.rmdir()
    assert folder.read(folder.write(Payload(b"y"))).pickle == b"y"


def test_a_write_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """Here because the folder was closed meanwhile."""
    folder = SpillFolder(tmp_path)
    folder.closed = True
    with pytest.raises(OSError, match="closed"):
        folder.write(Payload(b"x"))
    assert not _files(tmp_path)


def test_a_file_cut_short_is_an_error(tmp_path: Path) -> None:
    """Never a value with a hole in it."""
    folder = SpillFolder(tmp_path)
    spilled = folder.write(Payload(b"pickle"))
    spilled.path.write_bytes(b"pic")
    with pytest.raises(OSError, match="too early"):
        folder.read(spilled)


async def test_below_the_cap_nothing_touches_the_disk(tmp_path: Path) -> None:
    """Not even the folder is made."""
    shelf = _shelf(tmp_path, capacity=4)
    payload = Payload(b"1234")
    shelf.put("a", payload)
    await settle()
    assert await shelf.get("a") is payload
    assert _is_empty(tmp_path)
    shelf.close()


async def test_the_payload_used_longest_ago_goes_to_disk(tmp_path: Path) -> None:
    """Being asked for is a use."""
    shelf = _shelf(tmp_path, capacity=4)
    first, second = Payload(b"11"), Payload(b"22")
    shelf.put("first", first)
    shelf.put("second", second)
    await shelf.get("first")
    await _spilled(shelf, "third", Payload(b"33"))
    assert await shelf.get("first") is first
    back = await shelf.get("second")
    assert back is not second
    assert back.pickle == second.pickle
    shelf.close()


async def test_a_payload_larger_than_the_cap_goes_to_disk_and_no_other(tmp_path: Path) -> None:
    """It could not stay anyway."""
    shelf = _shelf(tmp_path, capacity=4)
    small = Payload(b"1")
    shelf.put("small", small)
    await _spilled(shelf, "large", Payload(b"22222"))
    assert (shelf.bytes, shelf.spilled_bytes) == (1, 5)
    assert await shelf.get("small") is small
    assert await shelf.get("large") == Payload(b"22222", [])
    shelf.close()


async def test_a_payload_is_read_from_memory_until_its_file_is_complete(tmp_path: Path) -> None:
    """And counts as memory for so long."""
    shelf = _shelf(tmp_path)
    payload = Payload(b"x")
    shelf.put("a", payload)
    assert await shelf.get("a") is payload
    assert (shelf.bytes, shelf.spilled_bytes) == (1, 0)
    await until(lambda: shelf.spilled_bytes == 1)
    assert shelf.bytes == 0
    shelf.close()


async def test_a_payload_dropped_while_it_is_written_leaves_no_file(tmp_path: Path) -> None:
    """The file comes too late, and goes."""
    shelf = _shelf(tmp_path)
    shelf.put("a", Payload(b"x"))
    shelf.drop("a")
    await until(lambda: not shelf.writing)
    await until(lambda: not _files(tmp_path))
    assert (shelf.bytes, shelf.spilled_bytes) == (0, 0)
    shelf.close()


async def test_dropping_a_payload_deletes_its_file(tmp_path: Path) -> None:
    """Disk is not held longer than memory would be."""
    shelf = _shelf(tmp_path)
    await _spilled(shelf, "a", Payload(b"x"))
    assert _files(tmp_path)
    shelf.drop("a")
    assert shelf.spilled_bytes == 0
    await until(lambda: not _files(tmp_path))
    shelf.close()


async def test_a_payload_dropped_under_its_readers_reaches_them_all(tmp_path: Path) -> None:
    """The last reader takes the file along."""
    shelf = _shelf(tmp_path)
    payload = Payload(bytes(1_000_000))
    await _spilled(shelf, "a", payload)
    readers = [asyncio.create_task(shelf.get("a")) for _ in range(20)]
    await settle(1)
    shelf.drop("a")
    assert all(back.pickle == payload.pickle for back in await asyncio.gather(*readers))
    await until(lambda: not _files(tmp_path))
    shelf.close()


async def test_a_cancelled_reader_does_not_keep_the_file(tmp_path: Path) -> None:
    """Its part in it ends with it."""
    shelf = _shelf(tmp_path)
    await _spilled(shelf, "a", Payload(bytes(1_000_000)))
    reader = asyncio.create_task(shelf.get("a"))
    await settle(1)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    shelf.drop("a")
    await until(lambda: not _files(tmp_path))
    shelf.close()


async def test_where_nothing_can_be_written_all_stays_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With one warning, however many payloads there are."""
    blocked = tmp_path / "a file"
    blocked.touch()
    shelf = _shelf(blocked, retry_seconds=0.0)
    payloads = {str(number): Payload(b"x") for number in range(5)}
    with caplog.at_level(logging.WARNING, logger="meshgen"):
        for key, payload in payloads.items():
            shelf.put(key, payload)
            await until(lambda: not shelf.writing)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "stay in memory" in caplog.text
    assert [await shelf.get(key) for key in payloads] == list(payloads.values())
    assert (shelf.bytes, shelf.spilled_bytes) == (5, 0)
    shelf.close()


async def test_a_disk_that_refused_is_left_alone_for_a_while(tmp_path: Path) -> None:
    """A full disk is not written to for every payload."""
    blocked = tmp_path / "a file"
    blocked.touch()
    shelf = _shelf(blocked, retry_seconds=3600.0)
    shelf.put("a", Payload(b"x"))
    await until(lambda: not shelf.writing)
    blocked.unlink()
    shelf.put("b", Payload(b"y"))
    assert not shelf.writing
    shelf.close()


async def test_a_disk_that_takes_files_again_is_used_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What had to stay in memory leaves it as well; the next refusal is worth a warning again."""
    blocked = tmp_path / "a file"
    blocked.touch()
    shelf = _shelf(blocked, retry_seconds=0.0)
    shelf.put("a", Payload(b"x"))
    await until(lambda: not shelf.writing)
    blocked.unlink()
    shelf.put("b", Payload(b"y"))
    await until(lambda: shelf.spilled_bytes == 2)
    shutil.rmtree(blocked)
    blocked.touch()
    shelf.put("c", Payload(b"z"))
    await until(lambda: not shelf.writing)
    assert len(caplog.records) == 2
    shelf.close()


async def test_closing_before_the_first_file_leaves_no_folder(tmp_path: Path) -> None:
    """A thread that has just begun does not make it afterwards."""
    for _ in range(30):
        shelf = _shelf(tmp_path)
        shelf.put("a", Payload(b"x"))
        shelf.close()
        assert _is_empty(tmp_path)


async def test_closing_deletes_the_folder_while_files_are_written(tmp_path: Path) -> None:
    """A thread at work does not bring it back."""
    shelf = _shelf(tmp_path)
    await _spilled(shelf, "done", Payload(b"x"))
    for number in range(20):
        shelf.put(str(number), Payload(bytes(100_000)))
    shelf.close()
    assert _is_empty(tmp_path)
    await settle()
    assert (shelf.bytes, shelf.spilled_bytes) == (0, 0)
    assert _is_empty(tmp_path)
