"""The gRPC server of a replica: links, generic calls, streams and large payloads."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio

from meshgen.errors import ObjectLostError, ProtocolError
from meshgen.naming import grpc_service
from meshgen.runtime.bulk import Assembler, chunks_of, sizes_of
from meshgen.runtime.carrier import LinkCarrier, translate_decoding_errors
from meshgen.runtime.certificates import CertificateSource, server_credentials
from meshgen.runtime.channel import SERVER_OPTIONS
from meshgen.runtime.clientstatus import PUSHBACK
from meshgen.runtime.gate import OPEN, Gate
from meshgen.runtime.host import answer_stream, is_cancelled
from meshgen.runtime.poller import free_poller
from meshgen.runtime.pump import ItemPump
from meshgen.runtime.replica import Replica
from meshgen.runtime.typedserver import TypedHandlers
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb

logger = logging.getLogger("meshgen")

Context = Any

# How long an upload may stand still, in seconds.
_UPLOAD_SECONDS = 30.0


class MeshServicer:
    """`meshgen.v1.MeshService` of one replica: values for every member, calls through the gate."""

    def __init__(self, replica: Replica, gate: Gate) -> None:
        self._replica = replica
        self._gate = gate

    async def link(self, _: Any, context: Context) -> None:
        """Carry one caller's link until either side ends it."""
        await LinkCarrier(self._replica, context, self._gate.refusal(context)).run()

    async def call(self, request: pb.CallRequest, context: Context) -> pb.CallResponse:
        """Run one unary call."""
        self._replica.enter_context()
        await self.admit(context)
        try:
            payload = await self._replica.code.call(request.invocation)
        except BaseException as exc:  # user code: SystemExit too is an error to its caller
            if is_cancelled(exc):
                raise
            return pb.CallResponse(outcome=pb.Outcome(failure=self._replica.failure(exc)))
        finally:
            self._replica.occupancy.release()
        return pb.CallResponse(outcome=pb.Outcome(payload=self._replica.outgoing(payload)))

    async def call_stream(self, request: pb.CallStreamRequest, context: Context) -> None:
        """Run one generator, or read on in one; what is ready together travels together."""
        pump = await self._pump(request, context)
        async with aclosing(answer_stream(self._replica, pump)) as messages:
            # A write fails when the caller is gone.
            with suppress(grpc.aio.BaseError):
                async for message in messages:
                    await context.write(message)

    async def _pump(self, request: pb.CallStreamRequest, context: Context) -> ItemPump:
        if request.stream_id:
            try:
                return self._replica.streams.take(request.stream_id)
            except ProtocolError as exc:
                await context.abort(grpc.StatusCode.NOT_FOUND, str(exc))
        self._replica.enter_context()
        await self.admit(context)
        pump = ItemPump(self._replica.code.stream(request.invocation))
        pump.start()
        return pump

    async def admit(self, context: Context) -> None:
        """Take a slot, or end the RPC."""
        await self._gate.check(context)
        replica = self._replica
        if replica.occupancy.admit():
            return
        if not replica.occupancy.open:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE,
                f"{replica.origin} takes no calls now; this one was not started: call another "
                "replica",
            )
        await context.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"{replica.origin} runs as many calls as it may at a time "
            f"({replica.spec.options.max_ongoing_requests}); this one was not started: call "
            "another replica, or this one later",
            trailing_metadata=PUSHBACK,
        )

    async def upload(
        self, requests: AsyncIterator[pb.UploadRequest], context: Context
    ) -> pb.UploadResponse:
        """Keep large arguments until the call that names them comes."""
        await self._gate.check(context)
        try:
            with translate_decoding_errors():
                payload_id, payload = await _uploaded(requests)
            self._replica.uploads.put(payload_id, payload)
        except (ProtocolError, TimeoutError) as exc:
            reason = str(exc) or f"nothing came for {_UPLOAD_SECONDS:g} s"
            who = context.peer()
            logger.warning("%s ended an upload of %s: %s", self._replica.origin, who, reason)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, reason)
        return pb.UploadResponse()

    async def fetch(self, request: pb.FetchRequest, context: Context) -> None:
        """Hand out a large result, once."""
        try:
            async with self._replica.handing_out(request.payload_id) as payload:
                await context.write(pb.FetchResponse(sizes=sizes_of(payload)))
                for chunk in chunks_of(payload):
                    await context.write(pb.FetchResponse(chunk=chunk))
        except (ProtocolError, ObjectLostError) as exc:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(exc))


async def _uploaded(requests: AsyncIterator[pb.UploadRequest]) -> tuple[str, Payload]:
    async with asyncio.timeout(_UPLOAD_SECONDS) as timeout:
        first = await anext(aiter(requests), pb.UploadRequest())
        if not first.payload_id:
            raise ProtocolError("a large payload came without its id")
        assembler = Assembler(first.sizes)
        async for request in requests:
            timeout.reschedule(asyncio.get_running_loop().time() + _UPLOAD_SECONDS)
            assembler.add(request.chunk)
    return first.payload_id, assembler.payload()


def _handlers(replica: Replica, gate: Gate) -> list[grpc.GenericRpcHandler]:
    """The mesh's own service, and the deployment's under its generated name."""
    servicer, deployment = MeshServicer(replica, gate), replica.stub.id
    call = grpc.unary_unary_rpc_method_handler(
        servicer.call, pb.CallRequest.FromString, pb.CallResponse.SerializeToString
    )
    stream = grpc.unary_stream_rpc_method_handler(
        servicer.call_stream,
        pb.CallStreamRequest.FromString,
        pb.CallStreamResponse.SerializeToString,
    )
    mesh = {
        "Link": grpc.stream_stream_rpc_method_handler(
            servicer.link, pb.LinkRequest.FromString, pb.LinkResponse.SerializeToString
        ),
        "Call": call,
        "CallStream": stream,
        "Upload": grpc.stream_unary_rpc_method_handler(
            servicer.upload, pb.UploadRequest.FromString, pb.UploadResponse.SerializeToString
        ),
        "Fetch": grpc.unary_stream_rpc_method_handler(
            servicer.fetch, pb.FetchRequest.FromString, pb.FetchResponse.SerializeToString
        ),
    }
    return [
        grpc.method_handlers_generic_handler("meshgen.v1.MeshService", mesh),
        grpc.method_handlers_generic_handler(
            grpc_service(deployment.app, deployment.name), {"Call": call, "CallStream": stream}
        ),
        TypedHandlers(replica, servicer.admit),
    ]


def _seen_by_others(address: str) -> str:
    """Where others find this process, if that is not what it binds."""
    host, _, port = address.rpartition(":")
    if host not in ("0.0.0.0", "[::]"):
        return address
    own = socket.gethostbyname(socket.gethostname())
    return f"{own}:{port}"


@asynccontextmanager
async def serving(
    replica: Replica,
    listen: str,
    certificates: CertificateSource | None,
    gate: Gate = OPEN,
    also: Callable[[grpc.aio.Server], Awaitable[None]] | None = None,
) -> AsyncIterator[str]:
    """Serve a replica at `listen` (`unix:PATH` or `HOST:PORT`); gives the address it is bound to.

    Raises:
        RuntimeError: The address cannot be bound.
    """
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers(tuple(_handlers(replica, gate)))
    if also is not None:
        await also(server)
    if certificates is None:
        port = server.add_insecure_port(listen)
    else:
        port = server.add_secure_port(listen, server_credentials(certificates))
    await server.start()
    free_poller()
    bound = listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"
    replica.store.address = _seen_by_others(bound)
    try:
        yield bound
    finally:
        # Links have ended by themselves if the replica was drained: a second is for the rest.
        await server.stop(grace=1.0)
