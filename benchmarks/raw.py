"""The same echo in plain grpc.aio over a Unix socket: what the mesh is compared with.

Payloads are bytes that nobody serialises, and the options are those of the mesh's own channels. The
mesh also chooses gRPC's poller: each subject says which experiments of gRPC it runs with.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

import grpc
import grpc.aio

from benchmarks.measure import Figures, Subject, measure
from benchmarks.multiplexed import answer
from benchmarks.plan import Plan
from benchmarks.poller import STOCK, chosen
from benchmarks.serverprocess import server_process
from meshgen.runtime.channel import CLIENT_OPTIONS, SERVER_OPTIONS

Method = Callable[[Any, Any], Any]


async def _unary(request: bytes, _: Any) -> bytes:
    return request


async def _bidi(_: Any, context: Any) -> None:
    while (message := await context.read()) is not grpc.aio.EOF:
        await context.write(message)


async def _stream(request: bytes, context: Any) -> None:
    """One message for each item."""
    kind, _, count = request.decode().partition(" ")
    for number in range(int(count)):
        item = str(number) if kind == "int" else f"item {number}"
        await context.write(item.encode())


async def _serve(address: str, ready: Connection) -> None:
    server = grpc.aio.server(options=SERVER_OPTIONS)
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(_unary),
        "Bidi": grpc.stream_stream_rpc_method_handler(_bidi),
        "Multiplexed": grpc.stream_stream_rpc_method_handler(answer),
        "Stream": grpc.unary_stream_rpc_method_handler(_stream),
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("benchmark.Raw", handlers),)
    )
    server.add_insecure_port(address)
    await server.start()
    ready.send(address)
    await server.wait_for_termination()


def serve(ready: Connection, address: str) -> None:
    """Run the server in this process; says its address when it serves."""
    asyncio.run(_serve(address, ready))


@contextmanager
def raw_server(folder: str, experiments: str) -> Iterator[str]:
    """A server in a process of its own; gives its address."""
    name = "raw" if experiments == STOCK else "raw-tuned"
    with ExitStack() as stack:
        with chosen(experiments):
            address = stack.enter_context(server_process(serve, f"unix:{folder}/{name}.sock"))
        yield address


def measure_unary(address: str, plan: Plan) -> Figures:
    """One round of one RPC for each call; streams of one message for each item."""
    return asyncio.run(_measure_unary(address, plan))


async def _measure_unary(address: str, plan: Plan) -> Figures:
    async with grpc.aio.insecure_channel(address, options=CLIENT_OPTIONS) as channel:
        unary = channel.unary_unary("/benchmark.Raw/Unary")
        stream = channel.unary_stream("/benchmark.Raw/Stream")

        def items(kind: str, count: int) -> AsyncIterator[Any]:
            return aiter(stream(f"{kind} {count}".encode()))

        return await measure(Subject(echo=unary, stream=items, array=bytes), plan)


def measure_bidi(address: str, plan: Plan) -> Figures:
    """One round of one stream with one message for each call, answered in order."""
    return asyncio.run(_measure_bidi(address, plan))


async def _measure_bidi(address: str, plan: Plan) -> Figures:
    async with grpc.aio.insecure_channel(address, options=CLIENT_OPTIONS) as channel:
        stream = channel.stream_stream("/benchmark.Raw/Bidi")()
        writing, reading = asyncio.Lock(), asyncio.Lock()

        async def echo(payload: bytes) -> Any:
            async with writing:
                await stream.write(payload)
            async with reading:
                return await stream.read()

        figures = await measure(Subject(echo=echo), plan)
        stream.cancel()
        return figures
