"""The messages of the exposed services, as the file beside `mesh.json` has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from meshgen.runtime.edgetable import CurrentTable, EdgeTable, ExposedRpc
from meshgen.specfiles import DESCRIPTORS
from meshgen.typed.descriptors import make_pool


class Descriptors:
    """Reads them again when the mesh has changed. `also` has files to add."""

    def __init__(
        self,
        table: CurrentTable,
        mesh_file: Path,
        also: Callable[[], Iterable[FileDescriptorProto]] = tuple,
    ) -> None:
        self.table = table
        self._path = mesh_file.with_name(DESCRIPTORS)
        self._also = also
        self._made: tuple[EdgeTable, DescriptorPool] | None = None

    def pool(self) -> DescriptorPool:
        """All messages as they are now."""
        table = self.table()
        if self._made is None or self._made[0] is not table:
            self._made = table, make_pool([*self._files(), *self._also()])
        return self._made[1]

    def _files(self) -> Iterator[FileDescriptorProto]:
        if self._path.exists():  # where nothing is exposed there is none
            yield from FileDescriptorSet.FromString(self._path.read_bytes()).file

    def classes(self, rpc: ExposedRpc) -> tuple[Any, Any]:
        """The classes of an RPC's request and response."""
        method = self.pool().FindServiceByName(rpc.service).FindMethodByName(rpc.rpc)
        types = method.input_type, method.output_type
        request, response = map(message_factory.GetMessageClass, types)
        return request, response
