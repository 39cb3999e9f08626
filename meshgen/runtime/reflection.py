"""What the gateway's gRPC is made of, for clients without .proto files: reflection, v1 and v1alpha.

Both say the same in the same messages; only the name of the service differs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from meshgen.runtime.edgedescriptors import Descriptors
from meshgen.runtime.edgetable import CurrentTable

HEALTH = "grpc.health.v1.Health"
_ALPHA = "grpc.reflection.v1alpha"
_STABLE = "grpc.reflection.v1"
_VERSIONS = (_ALPHA, _STABLE)


def reflected(table: CurrentTable, mesh_file: Path) -> Descriptors:
    """What reflection tells of."""
    return Descriptors(table, mesh_file, _own_files)


def _services(table: CurrentTable) -> list[str]:
    """The services that are served, those of gRPC itself included."""
    own = [HEALTH, *(f"{package}.ServerReflection" for package in _VERSIONS)]
    return [*table().services, *own]


def _own_files() -> Iterator[FileDescriptorProto]:
    """Those of the services that gRPC itself has."""
    yield _file_of(health_pb2)
    yield _file_of(reflection_pb2)
    yield _stable_file()


def _file_of(module: Any) -> FileDescriptorProto:
    made = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(made)
    return made


def _stable_file() -> FileDescriptorProto:
    """That of v1, which no package of Python has: v1alpha by another name."""
    stable = _file_of(reflection_pb2)
    stable.name, stable.package = "grpc/reflection/v1/reflection.proto", _STABLE
    for message in stable.message_type:
        for field in message.field:
            if field.type_name:  # to set it empty is to set it
                field.type_name = field.type_name.replace(_ALPHA, _STABLE)
    for method in stable.service[0].method:
        method.input_type = method.input_type.replace(_ALPHA, _STABLE)
        method.output_type = method.output_type.replace(_ALPHA, _STABLE)
    return stable


def reflection_handlers(descriptors: Descriptors) -> list[grpc.GenericRpcHandler]:
    """The handlers of both versions."""
    handler = grpc.stream_stream_rpc_method_handler(
        partial(_answer, descriptors),
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return [
        grpc.method_handlers_generic_handler(
            f"{package}.ServerReflection", {"ServerReflectionInfo": handler}
        )
        for package in _VERSIONS
    ]


async def _answer(
    descriptors: Descriptors, requests: AsyncIterator[Any], context: Any
) -> AsyncIterator[Any]:
    servicer = ReflectionServicer(_services(descriptors.table), descriptors.pool())
    async for response in servicer.ServerReflectionInfo(requests, context):
        yield response
