"""Processes that say nothing any more: who is stopped is found, who is busy is left alone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc.aio
import pytest

from meshgen.runtime.channel import CLIENT_OPTIONS
from meshgen.runtime.link import SERVICE
from meshgen.runtime.server import serving
from meshgen.runtime.session import CallerSession
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.hanging import Answer, Child, Hanging, call, child, connected, peer_at
from tests.runtime.replicas import lone_replica, short_folder, spec_of, until

# What the mesh promises; pings of HTTP/2 take four of them.
FOUND_SECONDS = 5.0


async def _is_found_and_comes_back(replica: Child) -> None:
    idle, peer = await connected(replica.said), await connected(replica.said)
    pid = await call(peer, "pid").value()
    waiting = call(peer, "wait")
    replica.stop()
    await until(lambda: idle.closed and peer.closed, FOUND_SECONDS)
    assert await waiting.value() == "lost"
    assert "ping timeout" in peer.failure
    late = peer_at(replica.said)
    await until(lambda: late.closed, 2 * FOUND_SECONDS)
    replica.go_on()
    again = await connected(replica.said)
    assert await call(again, "pid").value() == pid
    for each in (idle, peer, late, again):
        await each.close()


@pytest.mark.slow
async def test_a_replica_that_is_stopped_is_found_and_serves_again() -> None:
    """With a call in flight and without, over Unix sockets and TCP; new links get none either."""
    with short_folder() as folder, child("serve", f"unix:{folder}/0.sock") as local:
        with child("serve", "127.0.0.1:0") as remote:
            await asyncio.gather(_is_found_and_comes_back(local), _is_found_and_comes_back(remote))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sleep", "spin", "backtrack"])
async def test_a_replica_whose_loop_is_blocked_is_busy_and_not_dead(method: str) -> None:
    """Longer than a stopped one is waited for, calls on their way all the time."""
    with short_folder() as folder, child("serve", f"unix:{folder}/0.sock") as replica:
        peer = await connected(replica.said)
        began = time.monotonic()
        blocking = call(peer, method, 1.4 * FOUND_SECONDS)
        others: list[Answer] = []
        while not others or time.monotonic() - began < FOUND_SECONDS:
            others.append(call(peer, "pid"))
            await asyncio.sleep(0.1)
        assert await blocking.value() in ("slept", "spun", "backtracked")
        pids = {await each.value() for each in others}
        assert len(pids) == 1 and "lost" not in pids
        await peer.close()


@pytest.mark.slow
async def test_a_blocked_loop_with_many_links_is_not_dead_either() -> None:
    """Each of them has something to tell it meanwhile."""
    with short_folder() as folder, child("serve", f"unix:{folder}/0.sock") as replica:
        peer = await connected(replica.said)
        async with grpc.aio.insecure_channel(replica.said, options=CLIENT_OPTIONS) as channel:
            links = [await _greeted(channel) for _ in range(400)]
            blocking = call(peer, "sleep", 1.4 * FOUND_SECONDS)
            await asyncio.sleep(0.5)
            ping = pb.LinkRequest(frames=[pb.Frame(kind=pb.FRAME_KIND_PING, id=1)])
            for link in links:
                await link.write(ping)
            assert await blocking.value() == "slept"
            for link in links:
                (pong,) = (await link.read()).frames
                assert pong.kind == pb.FRAME_KIND_PONG
        await peer.close()


async def _greeted(channel: grpc.aio.Channel) -> Any:
    """A link to a replica of `Hanging`, made by hand."""
    link = channel.stream_stream(
        SERVICE + "Link", pb.LinkRequest.SerializeToString, pb.LinkResponse.FromString
    )()
    session = CallerSession()
    session.hello(spec_of(Hanging).stub.id, "test")
    await link.write(session.outbox.take())
    await link.read()
    return link


@pytest.mark.slow
async def test_the_calls_of_a_caller_that_is_stopped_are_cancelled() -> None:
    """A half-open connection keeps no slot."""
    async with lone_replica(Hanging) as replica:
        with short_folder() as folder:
            async with serving(replica, f"unix:{folder}/0.sock", None) as address:
                caller = await asyncio.to_thread(Child, "call", address)
                try:
                    await until(lambda: replica.occupancy.ongoing == 1)
                    caller.stop()
                    await until(lambda: replica.occupancy.ongoing == 0, FOUND_SECONDS)
                finally:
                    caller.close()
