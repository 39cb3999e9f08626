"""The classes of a generated client: one for each enum and each class with fields in its hints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshgen.build.client.defaults import UNSET, default_text
from meshgen.build.client.docstrings import docstring
from meshgen.build.client.hints import Hints
from meshgen.build.client.naming import ClassNames, identifier
from meshgen.build.client.sourcetext import literal
from meshgen.typed.comments import class_comment
from meshgen.typed.shapes import Default, Enumerated, Record, RecordKind, RecordRef, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassText:
    """A class as lines of source."""

    name: str
    lines: tuple[str, ...]
    # What its values' parts are called, by what they are called in the service.
    attributes: Mapping[str, str]
    is_dict: bool = False


def enum_class(shape: Enumerated, classes: ClassNames) -> ClassText:
    """An enum with the same names, and the same values if all are text or whole numbers."""
    name = classes.of(shape)
    plain = all(type(member.value) in (str, int) for member in shape.python)
    body = [
        f"    {identifier(member.name)} = {literal(member.value if plain else member.name)}"
        for member in shape.python
    ]
    text = docstring(class_comment(shape.python) or f"{name}.")
    return ClassText(
        name=name, lines=(f"class {name}(_enum.Enum):", *text, "", *body), attributes={}
    )


def record_class(shape: RecordRef, record: Record, classes: ClassNames) -> ClassText:
    """A class with the same fields: a TypedDict, a NamedTuple, or a dataclass."""
    name = classes.of(shape)
    if record.kind is RecordKind.TYPED_DICT:
        return _typed_dict(name, record, classes)
    attributes = {slot.python: identifier(slot.python) for slot in record.slots}
    hints = Hints(classes, {*attributes.values()})
    defaults = [default_text(record, slot, classes) for slot in record.slots]
    body = [
        f"    {attributes[slot.python]}: {_annotated(hints.hint(slot.shape), default)}"
        for slot, default in zip(record.slots, defaults, strict=True)
    ]
    lines = [*_head(name, record, defaults), *docstring(record.comment or f"{name}.")]
    return ClassText(
        name=name, lines=(*lines, *([""] if body else []), *body), attributes=attributes
    )


def _annotated(hint: str, default: str) -> str:
    if not default:
        return hint
    return f"{hint} | _Unset = {default}" if default == UNSET else f"{hint} = {default}"


def _head(name: str, record: Record, defaults: list[str]) -> list[str]:
    if issubclass(record.python, tuple):
        return [f"class {name}(_t.NamedTuple):"]
    given = [bool(default) for default in defaults]
    options = [
        # As hashable as the service's own: it may be in a set.
        *(["frozen=True"] if record.python.__hash__ is not None else []),
        *(["kw_only=True"] if given != sorted(given) else []),
    ]
    return [
        f"@_dataclasses.dataclass({', '.join(options)})" if options else "@_dataclasses.dataclass",
        f"class {name}:",
    ]


def _typed_dict(name: str, record: Record, classes: ClassNames) -> ClassText:
    keys = {slot.python: slot.python for slot in record.slots}
    if all(key == identifier(key) and not key.startswith("__") for key in keys):
        hints = Hints(classes, keys)
        body = [f"    {slot.python}: {_item(hints, slot)}" for slot in record.slots]
        text = docstring(record.comment or f"{name}.")
        lines = [f"class {name}(_t.TypedDict):", *text, *([""] if body else []), *body]
    else:
        hints = Hints(classes)
        items = (f"{literal(slot.python)}: {literal(_item(hints, slot))}" for slot in record.slots)
        lines = [f"{name} = _t.TypedDict({literal(name)}, {{{', '.join(items)}}})"]
    return ClassText(name=name, lines=tuple(lines), attributes=keys, is_dict=True)


def _item(hints: Hints, slot: Slot) -> str:
    hint = hints.hint(slot.shape)
    return hint if slot.default is Default.REQUIRED else f"_t.NotRequired[{hint}]"
