"""A deployment's .proto file as values: messages, enums, and the service with its RPCs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from meshgen.typed.forms import Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `type` is a scalar, a name of this package, or a full name with its package."""

    name: str
    type: str
    label: Label = Label.SINGULAR
    # The type of a map's keys.
    key: str = ""
    number: int = 0
    # Whether a request without it is refused, or means something else.
    required: bool = False

    @property
    def declared(self) -> str:
        """Its type with its label, as in `repeated string` or `map<string, Item>`."""
        if self.label is Label.MAP:
            return f"map<{self.key}, {self.type}>"
        return " ".join(part for part in (self.label.value, self.type) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. All fields of a `oneof` message are members of that oneof."""

    name: str
    fields: tuple[Field, ...] = ()
    oneof: str = ""
    comment: str = ""
    reserved: Reserved | None = None
    # Whether the numbers of its fields are the same in every package.
    is_fixed: bool = False

    @property
    def entries(self) -> dict[str, str]:
        """What protoc calls the messages of its maps' entries, by the names of the fields."""
        return {
            field.name: "".join(part[:1].upper() + part[1:] for part in field.name.split("_"))
            + "Entry"
            for field in self.fields
            if field.label is Label.MAP
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """Numbers and names that fields or values had once, and no other ever may."""

    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnumValue:
    """One value of an enum. The first is 0 and says that none was given."""

    name: str
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Enum:
    """One enum."""

    name: str
    values: tuple[EnumValue, ...]
    comment: str = ""
    reserved: Reserved | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpc:
    """One RPC, and the method that answers it; none for the generic ones."""

    name: str
    method: str = ""
    streams: bool = False
    comment: str = ""

    @property
    def request(self) -> str:
        """The name of its request."""
        return f"{self.name}Request"

    @property
    def response(self) -> str:
        """The name of its response."""
        return f"{self.name}Response"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """One .proto file. Its messages and enums are sorted as they are written."""

    path: str
    package: str
    service: str
    deployment: str
    rpcs: tuple[Rpc, ...] = ()
    messages: tuple[Message, ...] = ()
    enums: tuple[Enum, ...] = ()
    comment: str = ""

    @property
    def full_service(self) -> str:
        """The service's name with its package."""
        return f"{self.package}.{self.service}"

    @property
    def imports(self) -> list[str]:
        """The files that the types of other packages come from."""
        return sorted({_FILES[field.type] for field in self._fields() if "." in field.type})

    def typed_only(self) -> Schema:
        """Without the generic RPCs, as those outside of the mesh may see it."""
        return replace(
            self,
            rpcs=tuple(rpc for rpc in self.rpcs if rpc.method),
            messages=tuple(message for message in self.messages if not message.is_fixed),
        )

    def _fields(self) -> Iterator[Field]:
        for message in self.messages:
            yield from message.fields


_FILES = {
    "google.protobuf.Duration": "google/protobuf/duration.proto",
    "google.protobuf.Timestamp": "google/protobuf/timestamp.proto",
    "google.protobuf.Value": "google/protobuf/struct.proto",
    "meshgen.types.v1.Tensor": "meshgen/types/v1/tensor.proto",
    "meshgen.v1.Invocation": "meshgen/v1/mesh.proto",
    "meshgen.v1.Outcome": "meshgen/v1/mesh.proto",
    "meshgen.v1.Payload": "meshgen/v1/mesh.proto",
    "meshgen.v1.Failure": "meshgen/v1/mesh.proto",
}
