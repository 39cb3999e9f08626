"""Any bytes as the message of a typed RPC: a response, or a status that says what is wrong.

The first byte says which RPC it is.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import atheris

from tests.fuzz.harness import INSTRUMENTED, PickleWatch, fuzz

with atheris.instrument_imports(include=INSTRUMENTED):
    from meshgen.typed.deployment import typed_deployment
    from tests.fuzz import mesh as fuzzed

import numpy as np
from google.rpc.status_pb2 import Status

from meshgen.runtime.edgetable import ExposedRpc, edge_table
from meshgen.runtime.statuserror import StatusError
from meshgen.runtime.typedcall import MessageItems, MessageReply
from meshgen.types import DeploymentID, RequestContext, new_id
from tests.typed.models import Box, Color, Item, Options, Page, Point, Tree

_MOST_ITEMS = 30
CONVERTERS = typed_deployment(fuzzed.Shop, DeploymentID("default", "Shop")).converters()
METHODS = sorted(CONVERTERS)
watch = PickleWatch()
running = fuzzed.start()
RPCS = {rpc.method: rpc for rpc in edge_table(running.caller.mesh()).by_path.values()}

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "everything": (
        Item("tea", 2.0, parts=[Item("cup")], extra={"a": [1]}, sizes=(1, 2)),
        Tree(theLabel="root", children=[Tree(theLabel="leaf")]),
        Options(limit=3, order=["a"], note=None),
        Page[Item](items=[Item("tea")]),
        Point(1, 2),
    ),
    "item": (Item("tea", color=Color.GREEN),),
    "tree": (Tree(theLabel="root", children=[Tree(theLabel="leaf")]),),
    "options": (Options(limit=3),),
    "box": (Box(3, ("x",)),),
    "either": ([b"x"],),
    "moments": (datetime(2026, 1, 2, tzinfo=UTC), date(2026, 1, 2), timedelta(seconds=1.5)),
    "texts": (Decimal("1.50"), UUID(int=7), "a"),
    "colors": ({color: [1.0] for color in Color},),
    "arrays": (np.arange(6, dtype="f4").reshape(2, 3), [np.zeros((0, 2), "i8")]),
    "anything": ({"a": [1, None, "x", True]},),
    "count": (3,),
    "sell": ("tea",),
}


async def _call(rpc: ExposedRpc, message: bytes) -> list[bytes]:
    context = RequestContext(request_id=new_id(), app_name="default")
    if not rpc.streams:
        reply = MessageReply()
        running.caller.submit_typed(rpc.stub, rpc.method, message, context, reply, rpc.policy)
        return [await reply]
    items, found = MessageItems(), list[bytes]()
    running.caller.open_typed_stream(rpc.stub, rpc.method, message, context, items)
    try:
        while len(found) < _MOST_ITEMS:
            found.append(await items.next())
    except StopAsyncIteration:
        pass
    finally:
        items.cancel()
    return found


def target(data: bytes) -> None:
    """One input."""
    method = METHODS[data[0] % len(METHODS)] if data else METHODS[0]
    try:
        found = running.run(_call(RPCS[method], data[1:]))
    except StatusError as exc:
        fuzzed.check_status(Status.FromString(exc.status), method)
    else:
        for each in found:
            converter = CONVERTERS[method]
            converter.result(converter.response_class.FromString(each))
    watch.check()


def seeds() -> list[bytes]:
    """A request of each method, and pickles in place of one."""
    asked = [
        bytes([at]) + CONVERTERS[name].request(ARGUMENTS[name]).SerializeToString()
        for at, name in enumerate(METHODS)
    ]
    text = METHODS.index("anything")
    arrays = CONVERTERS["arrays"].request_class(x={"dtype": "int8", "shape": [0, 2**62]}, y=[])
    asked.append(bytes([METHODS.index("arrays")]) + arrays.SerializeToString())
    return [*asked, *(bytes([text]) + bomb for bomb in watch.bombs())]


if __name__ == "__main__":
    fuzz("typed", target, seeds())
