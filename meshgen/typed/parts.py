"""How a message is filled from the parts of a value, and a value made from the fields of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any

from meshgen.typed.codec import Codec
from meshgen.typed.fields import ABSENT, FieldCodec
from meshgen.typed.misfit import MisfitError, misfit, unexpected
from meshgen.typed.shapes import Default, Record, RecordKind


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a value: what the value's maker calls it, how it is taken, and its field."""

    name: str
    take: Callable[[Any], Any]
    field: FieldCodec


def fill(parts: Sequence[Part], value: Any, message: Any) -> None:
    """Write each part of a value to its field."""
    try:
        for part in parts:
            taken = part.take(value)
            if taken is not ABSENT:
                part.field.put(message, taken)
    except MisfitError:
        raise _all_misfits(parts, lambda part: _put_again(part, value, message)) from None


def gather(parts: Sequence[Part], message: Any) -> dict[str, Any]:
    """What the fields of a message hold, without those that are left out."""
    found = {}
    try:
        for part in parts:
            value = part.field.get(message)
            if value is not ABSENT:
                found[part.name] = value
    except MisfitError:
        raise _all_misfits(parts, lambda part: part.field.get(message)) from None
    return found


def _put_again(part: Part, value: Any, message: Any) -> None:
    taken = part.take(value)
    if taken is not ABSENT:
        # Apart from what is written so far, which nobody will read.
        part.field.put(type(message)(), taken)


def _all_misfits(parts: Sequence[Part], try_part: Callable[[Part], Any]) -> MisfitError:
    """Everything that does not fit, not only the first."""
    found = MisfitError([])
    for part in parts:
        try:
            try_part(part)
        except MisfitError as exc:
            found.violations += exc.within(part.field.name).violations
    return found


def tuple_codec(fields: Sequence[FieldCodec]) -> Codec:
    """A tuple whose items are the fields, in their order."""
    parts = [Part(field.name, itemgetter(n), field) for n, field in enumerate(fields)]

    def matches(value: Any) -> bool:
        return isinstance(value, tuple | list) and len(value) == len(parts)

    def write(value: Any, message: Any) -> None:
        if not matches(value):
            raise unexpected(f"a tuple of {len(parts)}", value)
        fill(parts, value, message)

    return Codec(
        in_message=True,
        write=write,
        read=lambda message: tuple(gather(parts, message).values()),
        matches=matches,
        exact=tuple,
    )


def wrapper_codec(field: FieldCodec, matches: Callable[[Any], bool], exact: type | None) -> Codec:
    """A value that is in a message only because it cannot be without one."""
    # Its field is not told: the path is the value's own.
    return Codec(
        in_message=True,
        write=_flipped(field.put),
        read=field.get,
        matches=matches,
        exact=exact,
    )


def _flipped(put: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    return lambda value, message: put(message, value)


def record_codec(record: Record, fields: Sequence[FieldCodec]) -> Codec:
    """A class with named fields."""
    cls = record.python
    typed_dict = record.kind is RecordKind.TYPED_DICT
    parts = [
        Part(
            slot.argument or slot.python,
            _item_or_absent(slot.python) if typed_dict else attrgetter(slot.python),
            field,
        )
        for slot, field in zip(record.slots, fields, strict=True)
    ]
    make = _maker(record, {part.name: part.field.name for part in parts})
    matches = _typed_dict_matcher(record) if typed_dict else (lambda value: isinstance(value, cls))

    def write(value: Any, message: Any) -> None:
        if not matches(value):
            raise _not_a(record, value)
        fill(parts, value, message)

    return Codec(
        in_message=True,
        write=write,
        read=lambda message: make(gather(parts, message)),
        matches=matches,
        exact=type_of(record),
    )


def type_of(record: Record) -> type:
    """The type that its values have, unless they have one derived from it."""
    return dict if record.kind is RecordKind.TYPED_DICT else record.python


def _item_or_absent(key: str) -> Callable[[Any], Any]:
    return lambda value: value.get(key, ABSENT)


def _typed_dict_matcher(record: Record) -> Callable[[Any], bool]:
    known = {slot.python for slot in record.slots}
    required = _required(record)
    return lambda value: isinstance(value, Mapping) and required <= {*value} <= known


def _not_a(record: Record, value: Any) -> MisfitError:
    name = record.python.__name__
    if record.kind is not RecordKind.TYPED_DICT or not isinstance(value, Mapping):
        return unexpected(name, value)
    known = {slot.python for slot in record.slots}
    strange = sorted(repr(key) for key in value if key not in known)
    missing = sorted(map(repr, _required(record) - {*value}))
    told = [f"no key {', '.join(missing)}"] if missing else []
    told += [f"a key {', '.join(strange)} that {name} does not have"] if strange else []
    return misfit(f"expected {name}, got one with {' and '.join(told)}")


def _required(record: Record) -> set[str]:
    return {slot.python for slot in record.slots if slot.default is Default.REQUIRED}


def _maker(record: Record, fields: Mapping[str, str]) -> Callable[[dict[str, Any]], Any]:
    cls = record.python
    if record.kind is RecordKind.TYPED_DICT:
        return lambda values: values

    def make(values: dict[str, Any]) -> Any:
        try:
            return cls(**values)
        except Exception as exc:  # the user's constructor and validators
            raise _refused(exc, fields) from exc

    return make


def _refused(exc: Exception, fields: Mapping[str, str]) -> MisfitError:
    errors = getattr(exc, "errors", None)
    if type(exc).__name__ != "ValidationError" or not callable(errors):
        return misfit(str(exc) or type(exc).__name__)
    return MisfitError(
        (_path(each["loc"], fields), str(each["msg"])) for each in errors(include_url=False)
    )


def _path(loc: Sequence[Any], fields: Mapping[str, str]) -> tuple[str, ...]:
    """pydantic's place of an error as ours."""
    return tuple(
        f"[{part}]" if isinstance(part, int) else fields.get(part, str(part)) for part in loc
    )
