"""A peer over gRPC: the asyncio rim of the link's session, and the RPCs beside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

from meshgen.errors import MeshError, ProtocolError
from meshgen.runtime.bulk import Assembler, chunks_of, sizes_of
from meshgen.runtime.certificates import CertificateSource
from meshgen.runtime.channel import open_channel, translate_rpc_errors
from meshgen.runtime.peer import Peer
from meshgen.runtime.skew import methods_text
from meshgen.stub import DeploymentStub
from meshgen.types import Payload, new_id
from meshgen.v1 import mesh_pb2 as pb

logger = logging.getLogger("meshgen")

SERVICE = "/meshgen.v1.MeshService/"
CONNECT_SECONDS = 5.0


class GrpcPeer(Peer):
    """One replica by its address: one channel for the link and streams, one for large payloads."""

    def __init__(
        self,
        address: str,
        on_change: Callable[[Peer], None],
        *,
        stub: DeploymentStub,
        caller: str,
        certificates: CertificateSource | None,
    ) -> None:
        super().__init__(address, on_change)
        self._stub = stub
        self._channel = open_channel(address, stub.service, certificates)
        self._bulk = open_channel(address, stub.service, certificates)
        self.name = f"{stub.id} at {address}"
        self.session.hello(stub.id, caller, methods_text(stub))

    def start(self) -> None:
        """Connect, and stay so until the replica goes or this peer is closed."""
        self.spawn(self._run())

    async def _run(self) -> None:
        call = self._channel.stream_stream(
            SERVICE + "Link", pb.LinkRequest.SerializeToString, pb.LinkResponse.FromString
        )()
        writer = self.spawn(self._write(call))
        try:
            with translate_rpc_errors(self.name):
                await self._read(call)
        except MeshError as exc:
            self.failure = str(exc)
            self.is_unfit = isinstance(exc, ProtocolError)
        except TimeoutError:
            self.failure = f"{self.name} did not answer within {CONNECT_SECONDS:g} s"
        finally:
            self.closed = True
            writer.cancel()
            call.cancel()
            self.changed()

    async def _read(self, call: Any) -> None:
        async with asyncio.timeout(CONNECT_SECONDS) as timeout:
            self._receive(await call.read())
            timeout.reschedule(None)
            while not self.closed:
                self._receive(await call.read())

    def _receive(self, message: Any) -> None:
        if self.closed:  # its calls were told so while this was on its way
            return
        if message is grpc.aio.EOF:
            self.closed = True
            return
        try:
            if message is None:
                raise _unreadable(self.name)
            self.session.ongoing = message.ongoing
            self.session.receive(message.frames)
        except ProtocolError as exc:
            logger.warning("the link to %s was ended: %s", self.name, exc)
            raise
        self.heard()

    async def _write(self, call: Any) -> None:
        # A failed write shows in the reader as well, which ends the link.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while (message := await self.session.outbox.next()) is not None:
                await call.write(message)
            await call.done_writing()

    async def upload(self, payload: Payload) -> str:
        """Hand over large arguments, in chunks."""
        payload_id = new_id()

        async def requests() -> AsyncIterator[pb.UploadRequest]:
            yield pb.UploadRequest(payload_id=payload_id, sizes=sizes_of(payload))
            for chunk in chunks_of(payload):
                yield pb.UploadRequest(chunk=chunk)

        with translate_rpc_errors(self.name):
            await self._bulk.stream_unary(
                SERVICE + "Upload", pb.UploadRequest.SerializeToString, pb.UploadResponse.FromString
            )(requests())
        return payload_id

    async def fetch(self, payload_id: str) -> Payload:
        """Take a large result, in chunks."""
        # A replica that leaves takes no new connections; the other channel may not have one yet.
        channel = self._bulk if self.serving else self._channel
        call = channel.unary_stream(
            SERVICE + "Fetch", pb.FetchRequest.SerializeToString, pb.FetchResponse.FromString
        )(pb.FetchRequest(payload_id=payload_id))
        with translate_rpc_errors(self.name):
            first = await call.read()
            if first is grpc.aio.EOF:
                raise ProtocolError(f"{self.name} sent nothing for a payload it keeps")
            if first is None:
                raise _unreadable(self.name)
            assembler = Assembler(first.sizes)
            while (message := await call.read()) is not grpc.aio.EOF:
                if message is None:
                    raise _unreadable(self.name)
                assembler.add(message.chunk)
        return assembler.payload()

    async def read_on(self, stream_id: str) -> AsyncGenerator[pb.CallStreamResponse, None]:
        """The rest of a stream; an HTTP/2 stream with flow control of its own."""
        call = self._channel.unary_stream(
            SERVICE + "CallStream",
            pb.CallStreamRequest.SerializeToString,
            pb.CallStreamResponse.FromString,
        )(pb.CallStreamRequest(stream_id=stream_id))
        try:
            with translate_rpc_errors(self.name):
                while (message := await call.read()) is not grpc.aio.EOF:
                    if message is None:
                        raise _unreadable(self.name)
                    yield message
        finally:
            call.cancel()

    async def close(self) -> None:
        """Let go of both channels."""
        await super().close()
        await asyncio.gather(self._channel.close(), self._bulk.close())


def _unreadable(name: str) -> ProtocolError:
    """What gRPC says by None."""
    return ProtocolError(f"what {name} sent is no message of the mesh")
