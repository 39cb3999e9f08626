"""A client of typed RPCs that learns all it knows by reflection: no meshgen, no .proto files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2 as reflection


class Reflected:
    """A client that learns all that it knows from the server."""

    def __init__(
        self, address: str, channel: grpc.aio.Channel, service: str = "", version: str = "v1"
    ) -> None:
        self.address = address
        self.channel = channel
        self._service = service
        self._ask = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            reflection.ServerReflectionRequest.SerializeToString,
            reflection.ServerReflectionResponse.FromString,
        )
        self._pool = descriptor_pool.DescriptorPool()

    async def ask(self, **question: str) -> reflection.ServerReflectionResponse:
        """One question of reflection."""
        request = reflection.ServerReflectionRequest(**question)
        call = self._ask(iter([request]), wait_for_ready=True)
        [answer] = [each async for each in call]
        return answer

    async def services(self) -> list[str]:
        """All that is served."""
        answer = await self.ask(list_services="")
        return [each.name for each in answer.list_services_response.service]

    async def learn(self, symbol: str) -> None:
        """Get the files of a service."""
        answer = await self.ask(file_containing_symbol=symbol)
        files = map(
            FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto
        )
        waiting = {file.name: file for file in files}

        def add(name: str) -> None:
            file = waiting.pop(name, None)
            if file is not None:
                for needed in file.dependency:
                    add(needed)
                self._pool.Add(file)

        for name in list(waiting):
            add(name)

    def rpcs(self) -> list[str]:
        """The RPCs of the service."""
        return [method.name for method in self._pool.FindServiceByName(self._service).methods]

    def call(self, rpc: str, request: dict[str, Any], **options: Any) -> Any:
        """One RPC, not awaited."""
        method = self._pool.FindServiceByName(self._service).FindMethodByName(rpc)
        asked = message_factory.GetMessageClass(method.input_type)
        answer = message_factory.GetMessageClass(method.output_type)
        path = f"/{self._service}/{rpc}"
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        send = make(path, asked.SerializeToString, answer.FromString)
        return send(json_format.ParseDict(request, asked()), **options)

    async def value(self, rpc: str, request: dict[str, Any], **options: Any) -> Any:
        """Its result."""
        return (await self.call(rpc, request, **options)).result


@asynccontextmanager
async def reflected(address: str, service: str, version: str = "v1") -> AsyncIterator[Reflected]:
    """A client that knows a service, over a connection of its own."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=own) as channel:
        made = Reflected(address, channel, service, version)
        await made.learn(service)
        yield made
