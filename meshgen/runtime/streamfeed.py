"""Brings a stream's items from its replica as they are taken."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from meshgen.errors import ProtocolError, ReplicaLostError
from meshgen.items import ItemBuffer
from meshgen.runtime import codec, frames
from meshgen.runtime.peer import Peer
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb


async def feed(
    items: ItemBuffer, peer: Peer, first: Sequence[pb.Payload], stream_id: str = ""
) -> None:
    """Put in the first items, then those that the stream of that id still gives; then the end.

    More is read only when all that was put in is taken: a slow consumer holds back the producer.

    Raises:
        ReplicaLostError: The replica is gone, or has forgotten what it kept for a link that is.
    """
    try:
        await _put(items, peer, first)
        if stream_id:
            async with aclosing(peer.read_on(stream_id)) as messages:
                async for message in messages:
                    if message.HasField("failure"):
                        items.end(codec.decode_failure(message.failure))
                    else:
                        await _put(items, peer, message.items)
    except ProtocolError as exc:
        raise ReplicaLostError(f"what was left of a stream is gone: {exc}") from exc
    items.end()


async def _put(items: ItemBuffer, peer: Peer, messages: Sequence[pb.Payload]) -> None:
    items.put([await _payload(peer, message) for message in messages], codec.decode)
    await items.drained()


async def _payload(peer: Peer, item: pb.Payload) -> Payload:
    return await peer.fetch(item.payload_id) if item.payload_id else frames.read_payload(item)
