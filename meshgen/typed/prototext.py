"""Schemas as the text of a .proto file, for people and for protoc."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace

from meshgen.typed.schema import Enum, Field, Message, Reserved, Rpc, Schema


def proto_text(schema: Schema, note: str) -> str:
    """The whole file. `note` is its first line and says where it comes from."""
    blocks = [
        [f"// {note}", 'syntax = "proto3";'],
        [*_comment(f"The service of {schema.deployment}."), f"package {schema.package};"],
        [f'import "{path}";' for path in schema.imports],
        _service(schema),
        *(_message(message, schema.package) for message in schema.messages),
        *(_enum(enum) for enum in schema.enums),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _service(schema: Schema) -> list[str]:
    about = schema.comment or f"{schema.service} has the methods of {schema.deployment}."
    inner = [f"  {line}" for rpc in schema.rpcs for line in _rpc(rpc)]
    return [*_comment(about), f"service {schema.service} {{", *inner, "}"]


def _rpc(rpc: Rpc) -> list[str]:
    stream = "stream " if rpc.streams else ""
    line = f"rpc {rpc.name}({rpc.request}) returns ({stream}{rpc.response});"
    return [*_comment(rpc.comment), line]


def _message(message: Message, package: str) -> list[str]:
    hidden = {*package.split("."), *message.entries.values()}
    fields = [_field(field, package, hidden) for field in message.fields]
    lines = [*_reserved(message.reserved), *fields]
    if message.oneof:
        inner = [f"  {line}" for line in lines if not line.startswith("reserved")]
        outer = [line for line in lines if line.startswith("reserved")]
        lines = [*outer, f"oneof {message.oneof} {{", *inner, "}"]
    return _block(_comment(message.comment), f"message {message.name}", lines)


def _field(field: Field, package: str, hidden: Set[str]) -> str:
    """A field whose type is found from inside of its message.

    `hidden` are names that mean something else there: parts of the package, as `google` may be
    one, and what protoc calls the entries of maps.
    """
    first = field.type.split(".")[0]
    full = field.type if "." in field.type else f"{package}.{field.type}"
    found = replace(field, type=f".{full}") if first in hidden else field
    return f"{found.declared} {field.name} = {field.number};"


def _enum(enum: Enum) -> list[str]:
    values = [f"{value.name} = {value.number};" for value in enum.values]
    return _block(_comment(enum.comment), f"enum {enum.name}", [*_reserved(enum.reserved), *values])


def _reserved(reserved: Reserved | None) -> Iterator[str]:
    if reserved is None:
        return
    yield f"reserved {', '.join(map(str, reserved.numbers))};"
    if reserved.names:
        quoted = (f'"{name}"' for name in reserved.names)
        yield f"reserved {', '.join(quoted)};"


def _block(comment: Iterable[str], head: str, lines: list[str]) -> list[str]:
    if not lines:
        return [*comment, f"{head} {{}}"]
    return [*comment, f"{head} {{", *(f"  {line}" for line in lines), "}"]


def _comment(text: str) -> list[str]:
    printable = ("".join(c for c in line if c.isprintable()) for line in text.splitlines())
    return [f"// {line}".rstrip() for line in printable]
