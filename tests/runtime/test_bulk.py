"""Large payloads: cut up, put together again, and kept until fetched."""

from __future__ import annotations

import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.errors import ProtocolError
from meshgen.runtime.bulk import CHUNK_SIZE, Assembler, PayloadStore, chunks_of, sizes_of
from meshgen.types import Payload
from tests.runtime.replicas import until

_PARTS = st.lists(st.binary(max_size=40), min_size=1, max_size=6)


def _parts(payload: Payload) -> list[bytes]:
    return [bytes(part) for part in (payload.pickle, *payload.buffers)]


@given(_PARTS, st.integers(min_value=1, max_value=50))
def test_any_payload_survives_any_cut(parts: list[bytes], size: int) -> None:
    """Empty parts and chunks across the border of two parts included."""
    whole = b"".join(parts)
    assembler = Assembler([len(part) for part in parts])
    for start in range(0, len(whole), size):
        assembler.add(whole[start : start + size])
    assert _parts(assembler.payload()) == parts


@given(_PARTS)
def test_any_payload_survives_its_own_chunks(parts: list[bytes]) -> None:
    """What one side cuts the other puts together."""
    payload = Payload(parts[0], parts[1:])
    assembler = Assembler(sizes_of(payload))
    for chunk in chunks_of(payload):
        assembler.add(chunk)
    assert _parts(assembler.payload()) == parts


def test_no_chunk_is_larger_than_a_message_should_be() -> None:
    """The parts follow one another; the last chunk of each is what is left."""
    payload = Payload(bytes(2 * CHUNK_SIZE + 1), [bytes(5)])
    assert [len(chunk) for chunk in chunks_of(payload)] == [CHUNK_SIZE, CHUNK_SIZE, 1, 5]


def test_buffers_of_wide_elements_are_counted_in_bytes() -> None:
    """A view of numbers is as long as its memory."""
    wide = memoryview(array.array("d", [1.0, 2.0]))
    payload = Payload(b"p", [wide])
    assert sizes_of(payload) == [1, 16]
    assembler = Assembler(sizes_of(payload))
    for chunk in chunks_of(payload):
        assembler.add(chunk)
    assert _parts(assembler.payload()) == [b"p", wide.tobytes()]


def test_what_was_put_together_can_be_written_to() -> None:
    """Arrays over it belong to their new owner."""
    assembler = Assembler([1, 2])
    assembler.add(b"pab")
    assert not memoryview(assembler.payload().buffers[0]).readonly


@given(_PARTS, st.binary(min_size=1, max_size=5))
def test_more_than_the_sizes_said_is_a_protocol_error(parts: list[bytes], more: bytes) -> None:
    """At the chunk that is too much."""
    assembler = Assembler([len(part) for part in parts])
    assembler.add(b"".join(parts))
    with pytest.raises(ProtocolError, match="longer than its sizes said"):
        assembler.add(more)


@given(_PARTS, st.integers(min_value=1))
def test_less_than_the_sizes_said_is_a_protocol_error(parts: list[bytes], missing: int) -> None:
    """However little is missing."""
    whole = b"".join(parts)
    if not whole:
        return
    assembler = Assembler([len(part) for part in parts])
    assembler.add(whole[: -min(missing, len(whole))])
    with pytest.raises(ProtocolError, match="ended before"):
        assembler.payload()


def test_a_payload_without_sizes_is_a_protocol_error() -> None:
    """Not even a pickle was promised."""
    with pytest.raises(ProtocolError, match="without its sizes"):
        Assembler([])


def test_a_size_that_no_machine_has_is_a_protocol_error() -> None:
    """Not the end of the process."""
    with pytest.raises(ProtocolError, match="no room"):
        Assembler([1 << 62])


async def test_a_payload_is_handed_out_once() -> None:
    """Whoever comes second is told so."""
    store = PayloadStore()
    payload = Payload(b"x")
    payload_id = store.park(payload)
    assert store.take(payload_id) is payload
    with pytest.raises(ProtocolError, match=payload_id):
        store.take(payload_id)
    assert len(store) == 0


async def test_a_payload_that_nobody_fetches_is_forgotten() -> None:
    """Without anybody parking another one."""
    store = PayloadStore(keep_seconds=0.0)
    store.park(Payload(b"x"))
    await until(lambda: len(store) == 0)


async def test_a_payload_can_be_kept_however_long_it_takes() -> None:
    """Where somebody drops it if nobody comes."""
    store = PayloadStore(keep_seconds=0.0)
    payload_id = store.park(Payload(b"x"))
    store.keep(payload_id)
    store.park(Payload(b"y"))
    await until(lambda: len(store) == 1)
    assert store.take(payload_id).pickle == b"x"


async def test_an_id_that_is_used_again_keeps_the_later_payload() -> None:
    """And the earlier one's time does not end the later one's."""
    store = PayloadStore(keep_seconds=0.0)
    store.put("a", Payload(b"1"))
    store.keep_seconds = 60.0
    store.put("a", Payload(b"2"))
    store.put("b", Payload(b"3"))
    store.keep_seconds = 0.0
    store.put("c", Payload(b"4"))
    await until(lambda: "c" not in store)
    assert store.take("a").pickle == b"2"


async def test_dropping_is_harmless_when_the_payload_is_gone() -> None:
    """Who drops need not know whether it was taken."""
    store = PayloadStore()
    payload_id = store.park(Payload(b"x"))
    store.drop(payload_id)
    store.drop(payload_id)
    assert payload_id not in store
