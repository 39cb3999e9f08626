"""The values elsewhere that a process needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary, ref

from meshgen.errors import MeshError, ObjectLostError
from meshgen.objectref import Passed
from meshgen.reply import Reply, wake_on
from meshgen.runtime import codec, frames
from meshgen.runtime.arrivedstream import ArrivedStream
from meshgen.runtime.heldvalue import HeldValue, Lease, Maker, lent
from meshgen.runtime.owners import Owners, ask, ended, lost
from meshgen.runtime.peer import Peer
from meshgen.runtime.values import UpstreamError
from meshgen.stub import DeploymentStub
from meshgen.types import DeploymentID, Payload, Token
from meshgen.v1 import mesh_pb2 as pb

if TYPE_CHECKING:
    from meshgen.runtime.network import Network

# By then a link to a replica that does not answer is lost, in seconds.
_REACHED_SECONDS = 5.0


class Poster(Protocol):
    """Who does things on the mesh's loop."""

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Do it there, from whichever thread."""


class Holds:
    """Keeps values alive where they are, and brings them here. Owns its links and its tasks.

    Lives on the mesh's loop.
    """

    def __init__(
        self, network: Network, find: Callable[[DeploymentID], DeploymentStub], poster: Poster
    ) -> None:
        self._owners = Owners(network, find)
        self._poster = poster
        self._known: WeakValueDictionary[Token, HeldValue] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Do something on the mesh's loop."""
        self._poster.post(function, *args)

    def retained(self, token: Token, peer: Peer) -> HeldValue:
        """A value that a replica was asked to keep for the link of this peer."""
        value = self._known[token] = HeldValue(token, self, self._lease(token, peer))
        return value

    def _lease(self, token: Token, peer: Peer) -> Lease:
        peer.on_leaving = self._bring_home
        return Lease(peer, token.value_id, self)

    def borrow(self, token: Token) -> HeldValue:
        """A value that somebody passed to this process."""
        value = self._known.get(token)
        if value is None:
            value = self._known[token] = HeldValue(token, self)
        return value

    def fetch(self, value: HeldValue, reply: Reply) -> None:
        """Bring a value here; `reply` ends with it."""
        if self._owners.closed:
            reply.fail(ended(value.token))
        else:
            self.spawn(self._fetch(value, reply))

    async def _fetch(self, value: HeldValue, reply: Reply) -> None:
        try:
            reply.resolve(await self._pull_or_remake(value), codec.decode)
        except UpstreamError as exc:
            reply.fail(codec.decode_failure(exc.failure))
        except asyncio.CancelledError:
            reply.fail(ended(value.token))
            raise
        except Exception as exc:  # whatever it is: who waits must be told
            reply.fail(exc)

    async def _pull_or_remake(self, value: HeldValue) -> Payload:
        while True:
            token = value.token
            # Quicker than to find out that nobody answers there.
            if value.is_cut_off and await self.remake(value):
                continue
            try:
                return await self.pull(value)
            except ObjectLostError:
                if value.token == token and not await self.remake(value):
                    raise

    async def remake(self, value: HeldValue) -> bool:
        """Have a lost value made again by the call that made it; whether that was possible."""
        token = value.token
        if value.remaking is None and value.recipe is not None:
            # In a task of our own: others may wait for it, too.
            value.remaking = self.spawn(self._remake(value, value.recipe))
        if value.remaking is not None:
            await asyncio.wait([value.remaking])
        return value.token != token or value.payload is not None or value.failure is not None

    async def _remake(self, value: HeldValue, recipe: Maker) -> None:
        try:
            reply = recipe.make()
            if reply is not None:
                await wake_on(reply.when_settled)
                value.was_remade(reply)
                self._known[value.token] = value
        finally:
            value.remaking = None

    async def is_lost(self, value: HeldValue) -> bool:
        """Whether a value is not where it was left."""
        if value.payload is not None or value.failure is not None:
            return False
        if value.is_cut_off:
            return True
        try:
            peer = self._peer(value)
            lease = self._lease(value.token, peer)
            try:
                await ask(peer, pb.FRAME_KIND_HOLD, value.token)
            finally:
                lease.end()
        except (MeshError, UpstreamError):
            return True
        return False

    async def remake_lost(self, values: Sequence[HeldValue]) -> bool:
        """Have those made again that are lost; whether that made a difference."""
        lost = [value for value in values if await self.is_lost(value)]
        made = await asyncio.gather(*(self.remake(value) for value in lost))
        return any(made)

    async def pull(self, value: HeldValue) -> Payload:
        """A value's payload, once it is there.

        Raises:
            UpstreamError: The call that should have made it failed.
            ObjectLostError: It is gone, or who had it is.
        """
        if value.payload is not None:
            return value.payload
        if value.failure is not None:
            raise UpstreamError(value.failure)
        try:
            peer = self._peer(value)
            if value.is_plain:
                return await peer.fetch(value.token.value_id)
            return await self._read(peer, await ask(peer, pb.FRAME_KIND_FETCH, value.token))
        except ObjectLostError:
            raise
        except UpstreamError as exc:
            # That is all there is to know: nobody has to keep it for this process.
            value.come_home(None, exc.failure)
            raise
        except MeshError as exc:
            raise lost(value.token, str(exc)) from exc

    async def _read(self, peer: Peer, answer: pb.Frame) -> Payload:
        payload = self.read(answer.payload)
        if answer.payload.payload_id:
            whole = await peer.fetch(answer.payload.payload_id)
            payload = Payload(whole.pickle, whole.buffers, payload.references)
        if payload.references:
            # Whoever has the value keeps what it refers to: only for so long.
            await self.hold(lent(payload.references))
        return payload

    def _peer(self, value: HeldValue) -> Peer:
        if value.lease is not None and not value.lease.peer.closed:
            return value.lease.peer
        return self.peer_at(value.token)

    def peer_at(self, token: Token) -> Peer:
        """The link to where something is.

        Raises:
            MeshError: There is none to be had.
        """
        return self._owners.peer_at(token)

    def _bring_home(self, peer: Peer) -> None:
        """A replica leaves: what this process needs of it comes here."""
        for value in [each for known in self._known.valuerefs() if (each := known()) is not None]:
            if value.is_at(peer) and not value.is_moving:
                value.is_moving = True
                self.spawn(self._move(value))

    async def _move(self, value: HeldValue) -> None:
        lease = value.lease
        try:
            value.come_home(await self.pull(value))
        except UpstreamError:  # it has come home as such
            pass
        except MeshError:  # lost: whoever asks for it will be told
            value.lease = None
        if lease is not None:
            await _taken_in(lease.told)
            lease.end()  # calls that were told of it see to it themselves

    async def hold(self, values: Iterable[ref[HeldValue]]) -> None:
        """Have those values kept for this process that are still needed here."""
        if holding := self.begin_to_hold(values):
            await asyncio.wait(holding)

    def begin_to_hold(self, values: Iterable[ref[HeldValue]]) -> list[asyncio.Task[None]]:
        """Ask for a lease on each of those that has none; the tasks that do so."""
        holding = []
        for each in values:
            value = each()
            if value is not None and value.lease is None:
                # In a task of our own: who waits may be cancelled, but what was asked for counts.
                value.holding = value.holding or self.spawn(self._hold(value))
                holding.append(value.holding)
        return holding

    async def _hold(self, value: HeldValue) -> None:
        # Lost, if it fails: whoever asks for the value will be told.
        with suppress(MeshError, UpstreamError):
            peer = self._peer(value)
            # Before the answer: a link that holds something does not end when its replica leaves.
            lease = self._lease(value.token, peer)
            try:
                await ask(peer, pb.FRAME_KIND_HOLD, value.token)
            except BaseException:
                lease.end()
                raise
            value.take(lease)
            # It may be leaving already, and have been told so when this was not there to be moved.
            peer.on_leaving = self._bring_home
            peer.changed()
        value.holding = None

    def read(self, message: pb.Payload) -> Payload:
        """An inline payload that arrived, and what it refers to."""
        payload = frames.read_payload(message)
        if message.references:
            payload.references = [self.arrive(each) for each in message.references]
        return payload

    def arrive(self, message: pb.Reference) -> Passed:
        """What a reference that arrived refers to."""
        reply = Reply()
        if message.value_id:
            reply.leave_at(self.borrow(_token(message)))
        elif message.HasField("failure"):
            reply.fail(codec.decode_failure(message.failure))
        else:
            reply.resolve(self.read(message.payload), codec.decode)
        return Passed(reply, message.by_value)

    async def bring(self, messages: Sequence[pb.Reference]) -> list[Passed]:
        """What references that arrived refer to; values that are meant themselves are here then.

        Raises:
            UpstreamError: The call that should have made one of them failed.
            ObjectLostError: One is gone, or who had it is.
        """
        found = [None if _is_elsewhere(each) else self._have(each) for each in messages]
        # Leases of our own on references, so that their replicas tell us when they leave.
        self.begin_to_hold(lent(each for each in found if each is not None))
        if None not in found:
            # Without letting go of the loop: such calls stay in the order in which they came.
            return found  # type: ignore[return-value]  # as just seen
        loop = asyncio.get_running_loop()
        bringing = [
            loop.create_task(self._bring(*each)) for each in zip(messages, found, strict=True)
        ]
        try:
            return list(await asyncio.gather(*bringing))
        finally:
            for task in bringing:  # after the first failure nobody needs the others
                task.cancel()

    def _have(self, message: pb.Reference) -> Passed:
        if message.HasField("stream"):
            return Passed(ArrivedStream(message.stream, self), by_value=True)
        if message.by_value and message.HasField("failure"):
            raise UpstreamError(message.failure)
        return self.arrive(message)

    async def _bring(self, message: pb.Reference, found: Passed | None) -> Passed:
        if found is not None:
            return found
        reply = Reply()
        reply.resolve(await self.pull(self.borrow(_token(message))), codec.decode)
        return Passed(reply, by_value=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work that these links are needed for; it ends with them."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End every link; who still waits for a value is told."""
        self._owners.closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._owners.close()


async def _taken_in(peers: Iterable[Peer]) -> None:
    """Wait until these replicas have read the calls that they were sent, if they can be reached."""
    pings = [(peer, asyncio.Event()) for peer in peers if peer.in_flight and not peer.closed]
    for peer, pong in pings:
        peer.session.ping(pong.set)
    with suppress(TimeoutError):
        async with asyncio.timeout(_REACHED_SECONDS):
            await asyncio.gather(*(pong.wait() for _, pong in pings))


def _is_elsewhere(message: pb.Reference) -> bool:
    """Whether it means a value that has to be fetched."""
    return message.by_value and bool(message.value_id)


def _token(message: pb.Reference) -> Token:
    owner = DeploymentID(*message.owner.split("/", 1))
    return Token(owner, message.address, message.value_id)
