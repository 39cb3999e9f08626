"""The typed side of one deployment: what `meshgen build` emits and what a replica serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from meshgen.typed.compiler import Compiler
from meshgen.typed.convert import Converter, make_converter
from meshgen.typed.descriptors import file_descriptor, make_pool
from meshgen.typed.layout import Layout, make_layout
from meshgen.typed.methods import read_interface
from meshgen.typed.numbers import Lock, with_numbers
from meshgen.typed.schema import Schema
from meshgen.types import DeploymentID


@dataclass(frozen=True, kw_only=True)
class TypedDeployment:
    """A deployment's typed RPCs. `problems` says which methods have none, and why."""

    layout: Layout
    schema: Schema
    # Its package's part of the next lock; `numbers.next_lock` puts them together.
    lock: Mapping[str, Any]
    problems: tuple[str, ...]

    def file(self) -> FileDescriptorProto:
        """Its .proto file as a descriptor."""
        return file_descriptor(self.schema)

    def converters(self, pool: DescriptorPool | None = None) -> dict[str, Converter]:
        """The conversions of each typed method by its name.

        `pool` has its file and all that this needs, as `make_pool` makes one; its own by default.
        """
        pool = pool or make_pool([self.file()])
        compiler = Compiler(self.layout, self.schema)
        return {
            method.name: make_converter(
                self.layout,
                compiler,
                method,
                (self._class(pool, f"{rpc}Request"), self._class(pool, f"{rpc}Response")),
                f"/{self.schema.full_service}/{rpc}",
            )
            for method in self.layout.interface.methods
            if (rpc := self.layout.rpcs.get(method.name)) is not None
        }

    def _class(self, pool: DescriptorPool, message: str) -> Any:
        found = pool.FindMessageTypeByName(f"{self.schema.package}.{message}")
        return message_factory.GetMessageClass(found)


def typed_deployment(
    target: Callable[..., Any], deployment: DeploymentID, lock: Lock | None = None
) -> TypedDeployment:
    """Read the hints of a deployment's class or function, with the numbers that a lock has.

    Raises:
        OptionError: A message ran out of numbers.
    """
    interface = read_interface(target, deployment.name)
    layout = make_layout(interface, deployment)
    schema, kept = with_numbers(layout.schema(), lock or {})
    nameless = [
        f"{deployment.name}.{method.name} has no typed RPC: its name has no ASCII letter, and "
        "so no .proto can hold it"
        for method in interface.methods
        if method.name not in layout.rpcs
    ]
    return TypedDeployment(
        layout=layout, schema=schema, lock=kept, problems=(*interface.problems, *nameless)
    )
