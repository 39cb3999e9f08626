"""Work that tells whether it was cancelled."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from starlette.responses import StreamingResponse

from meshgen import serve
from meshgen.errors import RequestCancelledError
from meshgen.serve.handle import DeploymentHandle


@serve.deployment(max_ongoing_requests=100)
class Journal:
    """Remembers events, and lets a test wait for one."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.changed = asyncio.Condition()

    async def note(self, event: str) -> None:
        async with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    async def until(self, event: str) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: event in self.events)

    async def all(self) -> list[str]:
        return self.events


@serve.deployment(max_ongoing_requests=10)
class Worker:
    def __init__(self, journal: DeploymentHandle) -> None:
        self.journal = journal
        self.release = threading.Event()
        self.cancelled: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def until_cancelled(self, tag: str) -> None:
        await self.cancelled[tag].wait()

    async def wait(self, tag: str) -> None:
        try:
            await self.journal.note.remote(f"{tag} began")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled[tag].set()
            await asyncio.shield(self.journal.note.remote(f"{tag} cancelled"))
            raise

    def wait_in_thread(self, tag: str) -> None:
        # Noted, it is known to others, who may cancel this request before word of that is here.
        with suppress(RequestCancelledError):
            self.journal.note.remote(f"{tag} began").result()
        self.release.wait(20)
        self.journal.note.remote(f"{tag} ended").result()

    async def release_threads(self) -> None:
        self.release.set()

    async def stubborn(self, tag: str) -> str:
        try:
            await self.journal.note.remote(f"{tag} began")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await self.journal.note.remote(f"{tag} goes on")
        return "done"

    def ping(self) -> str:
        return "pong"

    async def ping_after(self, _: Any) -> str:
        return "pong"


@serve.deployment(max_ongoing_requests=100)
class Parent:
    def __init__(self, worker: DeploymentHandle, journal: DeploymentHandle) -> None:
        self.worker = worker
        self.journal = journal
        self.kept: list[Any] = []

    def all(self) -> dict[str, DeploymentHandle]:
        return {"worker": self.worker, "journal": self.journal}

    async def wait(self, tag: str) -> None:
        await self.worker.wait.remote(tag)

    async def wait_twice(self, tag: str) -> None:
        await asyncio.gather(
            self.worker.wait.remote(f"{tag} one"), self.worker.wait.remote(f"{tag} two")
        )

    async def wait_for(self, tag: str, timeout: float) -> str:
        waiting = self.worker.wait.remote(tag)
        await self.journal.until.remote(f"{tag} began")  # who has not begun has nothing to tell
        try:
            await asyncio.wait_for(waiting, timeout)
        except TimeoutError:
            return "timed out"
        return "finished"

    async def leave_running(self, tag: str) -> None:
        alone = self.worker.wait.remote(f"{tag} alone")
        in_thread = asyncio.create_task(
            asyncio.to_thread(lambda: self.worker.wait.remote(f"{tag} in a thread").result())
        )
        try:
            await asyncio.shield(self.worker.wait.remote(f"{tag} shielded"))
        finally:
            del alone
            in_thread.add_done_callback(asyncio.Task.exception)

    async def fire_and_forget(self, tag: str) -> None:
        self.kept.append(self.worker.wait.remote(tag))

    async def chained(self, tag: str) -> None:
        await self.worker.ping_after.remote(self.worker.wait.remote(tag))

    async def cancel_kept(self) -> None:
        for response in self.kept:
            response.cancel()

    async def endless(self, tag: str) -> AsyncIterator[bytes]:
        try:
            await self.journal.note.remote(f"{tag} began")
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.001)
        finally:
            await asyncio.shield(self.journal.note.remote(f"{tag} cancelled"))

    async def __call__(self, request: Any) -> Any:
        tag = request.query_params["tag"]
        if request.url.path == "/until":
            await self.journal.until.remote(tag)
            return "it happened"
        if request.url.path == "/stream":
            return StreamingResponse(self.endless(tag))
        await self.worker.wait.remote(tag)
        return "finished"


def make() -> Any:
    journal = Journal.bind()
    return Parent.bind(Worker.bind(journal), journal)


app = make()


@serve.deployment
class Consumer:
    """Consumes a stream of another deployment in a unary call."""

    def __init__(self, parent: DeploymentHandle) -> None:
        self.parent = parent.options(stream=True)

    async def consume(self, tag: str) -> None:
        async for _ in self.parent.endless.remote(tag):
            pass

    async def journal(self) -> DeploymentHandle:
        handles = await self.parent.options(stream=False).all.remote()
        found: DeploymentHandle = handles["journal"]
        return found


consuming = Consumer.bind(make())
