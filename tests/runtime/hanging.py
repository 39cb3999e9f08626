"""A process at one end of a link, to be stopped by tests: `serve ADDRESS` or `call ADDRESS`."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meshgen.runtime.link import GrpcPeer
from meshgen.runtime.peer import Peer
from meshgen.runtime.server import serving
from meshgen.types import Call, Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.replicas import lone_replica, spec_of, until

ROOT = Path(__file__).parents[2]


class Hanging:
    """Keeps its loop busy, or waits."""

    async def pid(self) -> int:
        """Of its process."""
        return os.getpid()

    async def sleep(self, seconds: float) -> str:
        """In the loop's thread, which does nothing else meanwhile."""
        time.sleep(seconds)  # noqa: ASYNC251 - this is what hangs
        return "slept"

    async def spin(self, seconds: float) -> str:
        """The same in Python."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        return "spun"

    async def backtrack(self, seconds: float) -> str:
        """The same in C, which lets no other thread of Python run for a second or so at a time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            re.match("(a+)+$", "a" * 25 + "b")
        return "backtracked"

    async def wait(self) -> None:
        """For ever."""
        await asyncio.Event().wait()


class Answer:
    """One call and what becomes of it."""

    def __init__(self) -> None:
        self._end: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answered(self, frame: pb.Frame) -> None:
        """Its result, or the error's message."""
        failed = frame.kind == pb.FRAME_KIND_ERROR
        self._end.set_result(
            frame.failure.message if failed else pickle.loads(frame.payload.pickle)
        )

    def refused(self, frame: pb.Frame) -> None:
        """BUSY."""
        self._end.set_result("refused")

    def retained(self) -> None:
        """Nobody asks for that here."""

    def lost(self) -> None:
        """The link ended."""
        self._end.set_result("lost")

    async def value(self) -> Any:
        """The end of the call."""
        return await self._end


def call(peer: Peer, method: str, *args: Any) -> Answer:
    """Send a call."""
    answer = Answer()
    arguments = Payload(pickle.dumps((args, {})))
    peer.session.request(Call(method, arguments, RequestContext()), answer)
    return answer


def _changed(peer: Peer) -> None:
    if peer.closed:
        for calls in peer.session.lost():
            for each in calls:
                each.lost()


def peer_at(address: str) -> GrpcPeer:
    """A link to a replica of `Hanging`, started."""
    stub = spec_of(Hanging).stub
    peer = GrpcPeer(address, _changed, stub=stub, caller="test", certificates=None)
    peer.start()
    return peer


async def connected(address: str) -> GrpcPeer:
    """A link to a replica of `Hanging` that takes calls."""
    peer = peer_at(address)
    await until(lambda: peer.serving)
    return peer


class Child:
    """A process of this module."""

    def __init__(self, role: str, address: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.runtime.hanging", role, address],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        # The address that it serves at, or that it is connected.
        self.said = self._process.stdout.readline().strip()

    def stop(self) -> None:
        """Let it run no further, without a word to anybody."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """As if nothing had been."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Leave nothing behind."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def child(role: str, address: str) -> Iterator[Child]:
    """A process for the length of a block."""
    process = Child(role, address)
    try:
        yield process
    finally:
        process.close()


async def _serve(address: str) -> None:
    async with lone_replica(Hanging) as replica, serving(replica, address, None) as bound:
        print(bound, flush=True)
        await asyncio.Event().wait()


async def _call(address: str) -> None:
    peer = await connected(address)
    call(peer, "wait")
    print("called", flush=True)
    await until(lambda: peer.closed, seconds=60)
    await peer.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[2]) if sys.argv[1] == "serve" else _call(sys.argv[2]))
