"""The module of a generated client for one deployment, as values for its template."""

from __future__ import annotations

from dataclasses import dataclass

from meshgen.build.client.classes import ClassText, enum_class, record_class
from meshgen.build.client.docstrings import docstring
from meshgen.build.client.kinds import Kinds, enum_variable, record_variable
from meshgen.build.client.methods import MethodText, method_text
from meshgen.build.client.naming import ClassNames, client_class, module_name
from meshgen.build.client.sourcetext import call
from meshgen.typed.deployment import TypedDeployment
from meshgen.typed.layout import result_slots
from meshgen.typed.reach import reachable
from meshgen.typed.shapes import Enumerated, Method, RecordRef, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleText:
    """Everything in one module."""

    name: str
    deployment: str
    client: str
    doc: tuple[str, ...]
    classes: tuple[ClassText, ...]
    # Lines that describe the kinds of these classes, those first that others need.
    kinds: tuple[str, ...]
    methods: tuple[MethodText, ...]


def module_text(made: TypedDeployment) -> ModuleText:
    """The module of a deployment."""
    layout, schema = made.layout, made.schema
    classes = ClassNames(layout)
    methods = [method for method in layout.interface.methods if method.name in layout.rpcs]
    shapes = reachable(_shapes(methods), layout.interface.records)
    enums = {shape: enum_class(shape, classes) for shape in shapes if isinstance(shape, Enumerated)}
    records = {
        shape: record_class(shape, layout.interface.records[shape.hint], classes)
        for shape in shapes
        if isinstance(shape, RecordRef)
    }
    kinds = Kinds(layout, schema, classes)
    return ModuleText(
        name=module_name(schema),
        deployment=schema.deployment,
        client=client_class(schema.deployment),
        doc=tuple(docstring(schema.comment or f"Calls {schema.deployment}.")),
        classes=(*enums.values(), *records.values()),
        kinds=(
            *(f"{enum_variable(text.name)} = {kinds.enum(s)}" for s, text in enums.items()),
            *(_record(text) for text in records.values()),
            *(
                line
                for shape, text in records.items()
                for line in _definition(made, kinds, shape, text)
            ),
        ),
        methods=tuple(method_text(method, layout, schema, classes) for method in methods),
    )


def _record(text: ClassText) -> str:
    is_dict = ", is_dict=True" if text.is_dict else ""
    return f"{record_variable(text.name)} = _f.Record({text.name}{is_dict})"


def _definition(
    made: TypedDeployment, kinds: Kinds, shape: RecordRef, text: ClassText
) -> list[str]:
    slots = made.layout.interface.records[shape.hint].slots
    fields = [kinds.field(slot, text.attributes[slot.python]) for slot in slots]
    return call(f"{record_variable(text.name)}.define", fields, "")


def _shapes(methods: list[Method]) -> list[Shape]:
    slots = [
        slot
        for method in methods
        for slot in (*(p.slot for p in method.parameters), *result_slots(method))
    ]
    return [slot.shape for slot in slots]
