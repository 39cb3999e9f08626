"""From the methods of a deployment to its schema, with fields still to be numbered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from meshgen.naming import MessageName, ProtoName
from meshgen.typed import generic
from meshgen.typed.canonical import canonical
from meshgen.typed.comments import class_comment
from meshgen.typed.forms import form_of, is_required, wrapped
from meshgen.typed.names import ONEOF, Names
from meshgen.typed.reach import reachable
from meshgen.typed.rpcs import rpc_names
from meshgen.typed.schema import Enum, EnumValue, Field, Message, Rpc, Schema
from meshgen.typed.shapes import (
    Enumerated,
    Fixed,
    Interface,
    Many,
    Mapped,
    Maybe,
    Method,
    Null,
    OneOf,
    Pair,
    RecordRef,
    Shape,
    Slot,
)
from meshgen.types import DeploymentID


@dataclass(frozen=True, kw_only=True)
class Layout:
    """An interface with everything named: the RPC of each method, and every message."""

    interface: Interface
    id: DeploymentID
    rpcs: Mapping[str, str]
    names: Names

    def schema(self) -> Schema:
        """All of it as a .proto file whose fields have no numbers yet."""
        app, part = ProtoName(self.id.app), ProtoName(self.id.name)
        methods = [method for method in self.interface.methods if method.name in self.rpcs]
        return Schema(
            path=f"{app}/{part}/v1/{part}.proto",
            package=f"{app}.{part}.v1",
            service=service_name(self.id.name),
            deployment=self.id.name,
            rpcs=(*(self._rpc(method) for method in methods), *generic.RPCS),
            messages=(
                *(message for method in methods for message in self._of_rpc(method)),
                *sorted(self._messages(methods), key=lambda message: message.name),
                *generic.MESSAGES,
            ),
            enums=tuple(sorted(self._enums(methods), key=lambda enum: enum.name)),
            comment=self.interface.comment,
        )

    def _rpc(self, method: Method) -> Rpc:
        return Rpc(
            name=self.rpcs[method.name],
            method=method.name,
            streams=method.streams,
            comment=method.comment,
        )

    def _of_rpc(self, method: Method) -> Iterator[Message]:
        rpc = self._rpc(method)
        slots = [parameter.slot for parameter in method.parameters]
        yield Message(name=rpc.request, fields=self._fields(slots))
        yield Message(name=rpc.response, fields=self._fields(result_slots(method)))

    def _messages(self, methods: Sequence[Method]) -> Iterator[Message]:
        """Those of records, tuples, unions, and of what needs a message around it."""
        made: dict[str, Message] = {}
        for shape in self._elements(methods):
            message = self._message(shape)
            if message is not None:
                made.setdefault(message.name, message)
        yield from made.values()

    def _elements(self, methods: Sequence[Method]) -> Iterator[Shape]:
        """The shapes of all elements of all fields: what is in a message of its own, if any is."""
        slots = [slot for method in methods for slot in _slots_of(method)]
        todo = [form_of(slot).element for slot in slots][::-1]
        seen: set[Shape] = set()
        while todo:
            shape = canonical(todo.pop())
            if shape not in seen:
                seen.add(shape)
                yield shape
                inner = parts_of(shape, self.interface)
                alone = isinstance(shape, OneOf)  # no oneof holds a repeated field
                todo += [slot.shape if alone else form_of(slot).element for slot in inner][::-1]

    def _message(self, shape: Shape) -> Message | None:
        slots = parts_of(shape, self.interface)
        match shape:
            case OneOf():
                fields = tuple(
                    Field(name=name, type=self.names.type_of(member))
                    for member, name in self.names.members(shape).items()
                )
                return Message(name=self.names.word(shape), fields=fields, oneof=ONEOF)
            case RecordRef(hint=hint):
                comment = self.interface.records[hint].comment
                name = self.names.word(shape)
                return Message(name=name, fields=self._fields(slots), comment=comment)
            case Many() | Mapped() | Maybe() | Fixed() | Pair():
                return Message(name=self.names.word(shape), fields=self._fields(slots))
            case _:
                return None

    def _fields(self, slots: Iterable[Slot]) -> tuple[Field, ...]:
        return tuple(map(self._field, slots))

    def _field(self, slot: Slot) -> Field:
        form = form_of(slot)
        return Field(
            name=slot.proto,
            type=self.names.type_of(form.element),
            label=form.label,
            key=self.names.type_of(form.key) if form.key else "",
            required=is_required(slot),
        )

    def _enums(self, methods: Sequence[Method]) -> Iterator[Enum]:
        for shape in reachable(_shapes_of(methods), self.interface.records):
            if isinstance(shape, Enumerated):
                cls = shape.python
                # A member called UNSPECIFIED is 0 itself.
                members = dict.fromkeys(["UNSPECIFIED", *(member.name for member in cls)])
                yield Enum(
                    name=self.names.word(shape),
                    values=tuple(
                        EnumValue(name=self.names.enum_value(cls, name)) for name in members
                    ),
                    comment=class_comment(cls),
                )


def make_layout(interface: Interface, deployment: DeploymentID) -> Layout:
    """Name everything that an interface needs."""
    rpcs = rpc_names(method.name for method in interface.methods)
    reserved = {service_name(deployment.name)}
    for name in (*rpcs.values(), *(rpc.name for rpc in generic.RPCS)):
        reserved |= {f"{name}Request", f"{name}Response"}
    shapes = reachable(_shapes_of(interface.methods), interface.records)
    classes = [
        shape.hint if isinstance(shape, RecordRef) else shape.python
        for shape in shapes
        if isinstance(shape, RecordRef | Enumerated)
    ]
    return Layout(interface=interface, id=deployment, rpcs=rpcs, names=Names(classes, reserved))


def service_name(deployment: str) -> str:
    """What a deployment's service is called in its package."""
    return f"{MessageName(deployment)}Service"


def parts_of(shape: Shape, interface: Interface) -> tuple[Slot, ...]:
    """The fields of the message that one element of this shape is in; of a oneof, its members."""
    match shape:
        case RecordRef(hint=hint):
            return interface.records[hint].slots
        case Fixed(items=items):
            return tuple(_unnamed(f"item_{n}", item) for n, item in enumerate(items, start=1))
        case Pair(key=key, value=value):
            return (_unnamed("key", key), _unnamed("value", value))
        case OneOf(members=members):
            return tuple(_unnamed("", member) for member in members)
        case Many() | Mapped() | Maybe():
            return (wrapped(shape),)
        case _:
            return ()


def result_slots(method: Method) -> list[Slot]:
    """The one field of a response; none where a method returns None."""
    if isinstance(method.result, Null) and not method.streams:
        return []
    return [_unnamed("result", method.result)]


def _unnamed(name: str, shape: Shape) -> Slot:
    return Slot(python=name, proto=name, shape=shape)


def _slots_of(method: Method) -> list[Slot]:
    return [*(parameter.slot for parameter in method.parameters), *result_slots(method)]


def _shapes_of(methods: Iterable[Method]) -> list[Shape]:
    return [slot.shape for method in methods for slot in _slots_of(method)]
