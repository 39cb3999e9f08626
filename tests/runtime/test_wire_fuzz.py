"""Frames in any order, with anything in them: a link ends by a ProtocolError at worst, alone."""

from __future__ import annotations

import asyncio
import pickle
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshgen.errors import ProtocolError
from meshgen.runtime.host import LinkHost
from meshgen.runtime.replica import Replica
from meshgen.runtime.session import ERROR, RESPONSE, CallerSession
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.hosts import Worker, answers, hello, request
from tests.runtime.links import Waiting, a_call
from tests.runtime.replicas import lone_replica, settle, until

_KINDS: st.SearchStrategy[pb.FrameKind] = st.sampled_from(
    [*pb.FrameKind.values(), cast(pb.FrameKind, 99)]
)
_IDS = st.sampled_from([*range(8), 2**63])
_VALUES = st.sampled_from(["", "v", "w"])
_METHODS = st.sampled_from(["add", "wait", "large", "fail", "stubborn", "items", "endless", "none"])
_ARGUMENTS = st.sampled_from(
    [*map(pickle.dumps, [((), {}), ((1,), {}), ((2, 70_000), {}), 5]), b"", b"\x80?"]
)


@st.composite
def _references(draw: st.DrawFn) -> pb.Reference:
    return pb.Reference(
        owner=draw(st.sampled_from(["", "default/Worker", "nobody", "/"])),
        address=draw(st.sampled_from(["", "0", "nowhere"])),
        value_id=draw(_VALUES),
        by_value=draw(st.booleans()),
    )


@st.composite
def _frames(draw: st.DrawFn) -> pb.Frame:
    frame = pb.Frame(id=draw(_IDS), value_id=draw(_VALUES))
    # Most are calls, and what is said of calls.
    usual: st.SearchStrategy[pb.FrameKind] = st.sampled_from(
        [pb.FRAME_KIND_REQUEST, pb.FRAME_KIND_CANCEL, pb.FRAME_KIND_RETAIN]
    )
    frame.kind = draw(st.one_of(usual, usual, _KINDS))
    invocation = frame.invocation
    invocation.method = draw(_METHODS)
    invocation.stream = draw(st.booleans())
    invocation.context.time_left_ms = draw(st.sampled_from([0, 1, 2**64 - 1]))
    invocation.arguments.pickle = draw(_ARGUMENTS)
    invocation.arguments.payload_id = draw(st.sampled_from(["", "", "", "never"]))
    invocation.arguments.has_more = draw(st.booleans())
    invocation.arguments.references.extend(draw(st.lists(_references(), max_size=2)))
    return frame


def _in_order(frames: list[pb.Frame]) -> list[pb.Frame]:
    """The same, with ids that a session would accept for longer."""
    used = 0
    for frame in frames:
        if frame.kind in (pb.FRAME_KIND_REQUEST, pb.FRAME_KIND_FETCH, pb.FRAME_KIND_HOLD):
            used += 1
            frame.id = used
        frame.value_id = frame.value_id or "v"
    return frames


async def _take_in(host: LinkHost, messages: list[list[pb.Frame]]) -> None:
    """All of them, as far as the protocol goes."""
    for frames in messages:
        try:
            await host.receive(frames)
        except ProtocolError:
            return
        await settle(3)


def _is_empty(replica: Replica) -> bool:
    occupancy = replica.occupancy
    counted = (occupancy.ongoing, occupancy.wanted, occupancy.handing_out)
    kept = (len(replica.values), len(replica.results), len(replica.streams), len(replica.uploads))
    return not any(counted + kept)


async def _survives(messages: list[list[pb.Frame]]) -> None:
    async with lone_replica(Worker, max_ongoing_requests=5) as replica:
        async with LinkHost(replica) as good:
            await good.receive([hello(), request(1, "wait")])
            async with LinkHost(replica) as bad:
                await _take_in(bad, messages)
            await until(lambda: replica.occupancy.ongoing == 1)
            replica.context.servable_object.go_on.set()
            assert [frame.id for frame in await answers(good, 1)] == [1]
            await good.receive([request(2, "add", 1)])
            assert [frame.id for frame in await answers(good, 1)] == [2]
        await until(lambda: _is_empty(replica))


_BOUNDED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_BOUNDED
@given(messages=st.lists(st.lists(_frames(), max_size=6), max_size=4), greets=st.booleans())
def test_a_replica_survives_any_frames(messages: list[list[pb.Frame]], greets: bool) -> None:
    """Others go on, and nothing of the link is left."""
    asyncio.run(_survives([[hello()], *messages] if greets else messages))


@_BOUNDED
@given(frames=st.lists(_frames(), max_size=20), cut=st.integers(0, 20))
def test_a_replica_survives_any_calls(frames: list[pb.Frame], cut: int) -> None:
    """Whose ids are in order, with anything said of them in between."""
    ordered = _in_order(frames)
    asyncio.run(_survives([[hello()], ordered[:cut], ordered[cut:]]))


_OPEN = 4


@settings(deadline=None)
@given(frames=st.lists(_frames(), max_size=20), left=st.sets(st.integers(1, _OPEN)))
def test_a_caller_survives_any_frames(frames: list[pb.Frame], left: set[int]) -> None:
    """Each call ends once, whatever a replica says; the link ends by a ProtocolError at worst."""
    session, pongs = CallerSession(), list[int]()
    calls = {session.request(a_call(), call): call for call in (Waiting() for _ in range(_OPEN))}
    session.ask(pb.FRAME_KIND_FETCH, "v", Waiting())
    session.ping(lambda: pongs.append(1))
    for call_id in left:
        session.cancel(call_id)
    while session.outbox.take() is not None:
        pass
    try:
        session.receive(frames)
    except ProtocolError:
        pass
    for call in session.lost()[1]:
        call.lost()
    assert len(pongs) <= 1
    assert not session.calls and not session.in_flight
    for call_id, call in calls.items():
        assert len(call.ends) == (call_id not in left)


@pytest.mark.parametrize("kind", [RESPONSE, ERROR, pb.FRAME_KIND_BUSY])
def test_a_second_answer_ends_the_link(kind: pb.FrameKind) -> None:
    """The first stands."""
    session, waiting = CallerSession(), Waiting()
    frame = pb.Frame(kind=kind, id=session.request(a_call(), waiting))
    with pytest.raises(ProtocolError, match="which is not open"):
        session.receive([frame, frame])
    assert len(waiting.ends) == 1
