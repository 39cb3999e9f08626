"""The Protobuf messages of the services, in a descriptor pool of this package alone.

A pool of its own, so that no other package with the same .proto files gets in the way.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)


def message_class(name: str) -> Any:
    """The class of a message by its full name."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


def _load() -> Any:
    data = resources.files(__package__ or "").joinpath("descriptors.binpb").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return pool


_POOL: Any = _load()
