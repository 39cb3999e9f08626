"""Schemas as Protobuf's own descriptors, and the message classes that follow from them.

Made without protoc: a running service has the classes of its hints, and no compiler.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf import (
    any_pb2,
    descriptor_pool,
    duration_pb2,
    struct_pb2,
    timestamp_pb2,
)
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from meshgen.typed.forms import Label
from meshgen.typed.schema import Enum, Field, Message, Reserved, Schema
from meshgen.v1 import mesh_pb2

_SCALARS = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
}
_OPTIONAL = FieldDescriptorProto.LABEL_OPTIONAL
_REPEATED = FieldDescriptorProto.LABEL_REPEATED
_TENSOR_PATH = "meshgen/types/v1/tensor.proto"
_TENSOR_FIELDS = {"dtype": "string", "shape": "int64", "data": "bytes"}


def file_descriptor(schema: Schema) -> FileDescriptorProto:
    """What protoc would make of the schema's text, without comments and positions."""
    made = FileDescriptorProto(
        name=schema.path, package=schema.package, syntax="proto3", dependency=schema.imports
    )
    enums = {enum.name for enum in schema.enums}
    made.message_type.extend(_Writer(schema, enums).message(each) for each in schema.messages)
    made.enum_type.extend(_enum(each) for each in schema.enums)
    service = made.service.add(name=schema.service)
    for rpc in schema.rpcs:
        service.method.add(
            name=rpc.name,
            input_type=f".{schema.package}.{rpc.request}",
            output_type=f".{schema.package}.{rpc.response}",
            **({"server_streaming": True} if rpc.streams else {}),
        )
    return made


def tensor_descriptor() -> FileDescriptorProto:
    """`protos/meshgen/types/v1/tensor.proto`; a test holds the two in step."""
    made = FileDescriptorProto(name=_TENSOR_PATH, package="meshgen.types.v1", syntax="proto3")
    message = made.message_type.add(name="Tensor")
    for number, (name, scalar) in enumerate(_TENSOR_FIELDS.items(), start=1):
        label = _REPEATED if name == "shape" else _OPTIONAL
        message.field.add(
            name=name, json_name=name, number=number, type=_SCALARS[scalar], label=label
        )
    return made


def make_pool(files: Iterable[FileDescriptorProto]) -> descriptor_pool.DescriptorPool:
    """A pool of its own with these files and all that they import.

    Files of the names of `common_files`, such as a set that protoc made has, are left out.
    """
    pool = descriptor_pool.DescriptorPool()
    known = {file.name: file for file in common_files()}
    for file in (*known.values(), *(file for file in files if file.name not in known)):
        pool.Add(file)
    return pool


def common_files() -> Iterator[FileDescriptorProto]:
    """The files that schemas may import, those first that others need."""
    for module in (any_pb2, duration_pb2, struct_pb2, timestamp_pb2, mesh_pb2):
        made = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(made)
        yield made
    yield tensor_descriptor()


class _Writer:
    """Writes the messages of one package."""

    def __init__(self, schema: Schema, enums: set[str]) -> None:
        self._package = schema.package
        self._enums = enums

    def message(self, message: Message) -> DescriptorProto:
        made = DescriptorProto(name=message.name)
        for field in message.fields:
            made.field.append(self._field(message, field, made))
        if message.oneof:
            made.oneof_decl.add(name=message.oneof)
        # After the real ones, as protoc has them.
        for each in made.field:
            if each.proto3_optional:
                each.oneof_index = len(made.oneof_decl)
                made.oneof_decl.add(name=f"_{each.name}")
        _reserve(made, message.reserved, exclusive=1)
        return made

    def _field(
        self, message: Message, field: Field, owner: DescriptorProto
    ) -> FieldDescriptorProto:
        made = FieldDescriptorProto(
            name=field.name, json_name=_json_name(field.name), number=field.number, label=_OPTIONAL
        )
        self._set_type(made, field.type)
        if field.label is Label.MAP:
            self._set_map(made, field, owner, message)
        if field.label is Label.REPEATED:
            made.label = _REPEATED
        if field.label is Label.OPTIONAL:
            made.proto3_optional = True
        if message.oneof:
            made.oneof_index = 0
        return made

    def _set_type(self, made: FieldDescriptorProto, name: str) -> None:
        if name in _SCALARS:
            made.type = _SCALARS[name]
            return
        is_enum = name in self._enums
        made.type = FieldDescriptorProto.TYPE_ENUM if is_enum else FieldDescriptorProto.TYPE_MESSAGE
        made.type_name = f".{name}" if "." in name else f".{self._package}.{name}"

    def _set_map(
        self, made: FieldDescriptorProto, field: Field, owner: DescriptorProto, message: Message
    ) -> None:
        entry = owner.nested_type.add(name=message.entries[field.name])
        entry.options.map_entry = True
        for number, (name, kind) in enumerate((("key", field.key), ("value", field.type)), start=1):
            part = entry.field.add(name=name, json_name=name, number=number, label=_OPTIONAL)
            self._set_type(part, kind)
        made.label, made.type = _REPEATED, FieldDescriptorProto.TYPE_MESSAGE
        made.type_name = f".{self._package}.{message.name}.{entry.name}"


def _enum(enum: Enum) -> EnumDescriptorProto:
    made = EnumDescriptorProto(name=enum.name)
    for value in enum.values:
        made.value.add(name=value.name, number=value.number)
    _reserve(made, enum.reserved, exclusive=0)
    return made


def _reserve(
    made: DescriptorProto | EnumDescriptorProto, reserved: Reserved | None, *, exclusive: int
) -> None:
    if reserved is None:
        return
    for number in reserved.numbers:
        # The end of a range is not in it, in messages; in enums it is.
        made.reserved_range.add(start=number, end=number + exclusive)
    made.reserved_name.extend(reserved.names)


def _json_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others)
