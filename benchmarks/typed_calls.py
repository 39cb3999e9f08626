"""Typed unary RPCs against the same service written by hand: `python -m benchmarks.typed_calls`.

One plain grpcio client calls all servers in blocks, one after another, so that a noisy machine
disturbs all alike. By hand: grpc.aio, protoc's kind of classes, one `async def` a method. Tuned:
with the event loop and the poller that meshgen chooses for its processes. Proxied: behind another
server by hand, which passes bytes on as the gateway does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvloop

from benchmarks.plan import PAYLOAD
from benchmarks.poller import STOCK, chosen
from benchmarks.serverprocess import server_process
from meshgen import serve
from meshgen.deploy.local import LocalMesh
from meshgen.graph import build_graph
from meshgen.loopthread import LoopThread
from meshgen.runtime import channel
from meshgen.serve.config import GRPCOptions, HTTPOptions
from meshgen.settings import socket_folder
from meshgen.typed.deployment import typed_deployment
from meshgen.types import DeploymentID

# Importing it has set them, if this gRPC has them.
assert channel
_MESHS_OWN = os.environ.get("GRPC_EXPERIMENTS", STOCK)
APP = "benchmark"
BY_HAND, TUNED, REPLICA = "by hand", "by hand, tuned", "typed, at the replica"
BY_HAND_TCP, GATEWAY = "by hand, TCP", "typed, through the gateway"
PROXIED = "by hand, proxied"
# Of the same way there: what the second is compared with the first.
PAIRS = (
    (BY_HAND, REPLICA),
    (TUNED, REPLICA),
    (PROXIED, GATEWAY),
    (BY_HAND_TCP, GATEWAY),
    (BY_HAND_TCP, PROXIED),
)


class Echo:
    """Gives back what it gets."""

    async def echo(self, value: bytes) -> bytes:
        """The value itself."""
        return value


# Not as a decorator: `typed_deployment` takes the class.
app = serve.deployment(max_ongoing_requests=1000)(Echo).bind()
TYPED = typed_deployment(Echo, DeploymentID(APP, "Echo")).converters()["echo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """So many rounds of a block of calls for each server."""

    rounds: int = 20
    calls: int = 500
    warm_up: int = 500


FULL, QUICK = Plan(), Plan(rounds=2, calls=20, warm_up=20)


async def _by_hand(request: Any, _: Any) -> Any:
    return TYPED.response_class(result=request.value)


async def _serve(address: str, ready: Connection, behind: str) -> None:
    server = grpc.aio.server()
    if behind:
        handler = grpc.unary_unary_rpc_method_handler(_passing_on(behind))
    else:
        handler = grpc.unary_unary_rpc_method_handler(
            _by_hand, TYPED.request_class.FromString, TYPED.response_class.SerializeToString
        )
    service, rpc = TYPED.path.strip("/").split("/")
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {rpc: handler}),)
    )
    port = server.add_insecure_port(address)
    await server.start()
    ready.send(address if address.startswith("unix:") else f"127.0.0.1:{port}")
    await server.wait_for_termination()


def _passing_on(address: str) -> Any:
    call = grpc.aio.insecure_channel(address).unary_unary(TYPED.path)

    async def pass_on(message: bytes, _: Any) -> Any:
        return await call(message)

    return pass_on


def serve_by_hand(ready: Connection, address: str, experiments: str, behind: str = "") -> None:
    """Run the server in this process; says its address when it serves. Where it is to stand before
    another one, `behind` is where that is."""
    if experiments == STOCK:
        asyncio.run(_serve(address, ready, behind))
    else:
        uvloop.run(_serve(address, ready, behind))


@contextmanager
def mesh() -> Iterator[tuple[str, str]]:
    """The same service in a mesh; the addresses of its replica and of its gateway."""
    thread = LoopThread("mesh")
    local = thread.run(_start())
    try:
        folder = socket_folder(local.folder.path, APP, "echo")
        assert local.grpc_address is not None
        yield f"unix:{next(folder.glob('*.sock'))}", local.grpc_address
    finally:
        thread.run(local.close(at_once=True))
        thread.stop()


async def _start() -> LocalMesh:
    local = LocalMesh(HTTPOptions(port=0), _no_lines, GRPCOptions(port=0))
    await local.deploy(build_graph(app, app=APP), "/")
    return local


def _no_lines(name: str, line: str, is_error: bool) -> None:
    """The gateway logs each call."""


def measure(addresses: Mapping[str, str], plan: Plan) -> dict[str, list[float]]:
    """The p50 of each round in microseconds, by server."""
    request = TYPED.request_class(value=PAYLOAD)
    with ExitStack() as stack:
        calls = {}
        for name, address in addresses.items():
            opened = stack.enter_context(grpc.insecure_channel(address))
            calls[name] = opened.unary_unary(
                TYPED.path, TYPED.request_class.SerializeToString, TYPED.response_class.FromString
            )
            _block(calls[name], request, plan.warm_up)
        rounds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(plan.rounds):
            for name, call in calls.items():
                rounds[name].append(_block(call, request, plan.calls))
        return rounds


def _block(call: Any, request: Any, count: int) -> float:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        answer = call(request)
        times.append(time.perf_counter() - began)
        assert answer.result == PAYLOAD
    return statistics.median(times) * 1e6


def run(plan: Plan) -> dict[str, Any]:
    """The whole benchmark."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        replica, gateway = stack.enter_context(mesh())
        by_hand = _server(stack, f"unix:{folder}/0.sock", STOCK)
        addresses = {
            BY_HAND: by_hand,
            TUNED: _server(stack, f"unix:{folder}/1.sock", _MESHS_OWN),
            REPLICA: replica,
            BY_HAND_TCP: _server(stack, "127.0.0.1:0", STOCK),
            PROXIED: _server(stack, "127.0.0.1:0", STOCK, by_hand),
            GATEWAY: gateway,
        }
        client = stack.enter_context(
            ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)
        )
        with chosen(STOCK):
            rounds = client.submit(measure, addresses, plan).result()
    return {
        "plan": asdict(plan),
        "p50_us": {name: statistics.median(each) for name, each in rounds.items()},
        # Round by round, as both then had the same machine.
        "ratios": {
            f"{second} / {first}": statistics.median(
                after / before for before, after in zip(rounds[first], rounds[second], strict=True)
            )
            for first, second in PAIRS
        },
    }


def _server(stack: ExitStack, address: str, experiments: str, behind: str = "") -> str:
    with chosen(experiments):
        return stack.enter_context(server_process(serve_by_hand, address, experiments, behind))


def text(found: Mapping[str, Any]) -> str:
    """The figures as a table."""
    lines = ["| p50 µs | |", "|---|--:|"]
    lines += [f"| {name} | {p50:.0f} |" for name, p50 in found["p50_us"].items()]
    lines += [f"| {names} | {ratio:.2f} |" for names, ratio in found["ratios"].items()]
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the JSON if that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.typed_calls", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a second; its figures say little")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    found = run(QUICK if arguments.quick else FULL)
    print(text(found))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
