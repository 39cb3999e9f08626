"""Classes with named fields: dataclasses, TypedDicts, NamedTuples and pydantic models.

Also generic ones: `Box[int]` has the fields of `Box` with `int` in the place of its variable.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meshgen.typed.shapes import Default, RecordKind
from meshgen.typed.untypable import UntypableError

_COLLECTIONS = (list, tuple, dict, set, frozenset)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundField:
    """One field as its class declares it, with its hint not yet looked into."""

    name: str
    hint: Any
    default: Default = Default.REQUIRED
    argument: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRecord:
    """A class with named fields, as it declares them."""

    python: type
    kind: RecordKind
    fields: tuple[FoundField, ...]


def find_record(hint: Any) -> FoundRecord | None:
    """The fields of a class or of a parametrized generic class; None if it declares none.

    Raises:
        UntypableError: It declares fields, but cannot be made from them, or hints do not resolve.
    """
    cls = typing.get_origin(hint) or hint
    if not isinstance(cls, type):
        return None
    for reads in (_pydantic, _dataclass, _typed_dict, _named_tuple):
        found = reads(cls)
        if found is not None:
            kind, fields = found
            return FoundRecord(python=cls, kind=kind, fields=_filled_in(fields, hint))
    return None


def default_of(value: Any) -> Default:
    """What kind of default a value is."""
    if value is None:
        return Default.NONE
    if isinstance(value, _COLLECTIONS) and not value:
        return Default.EMPTY
    return Default.OTHER


def hints_of(owner: Any, *, include_extras: bool = False) -> dict[str, Any]:
    """The hints of a class or function, forward references resolved.

    Raises:
        UntypableError: One of them cannot be resolved.
    """
    try:
        return typing.get_type_hints(owner, include_extras=include_extras)
    except Exception as exc:  # evaluating annotations runs what users wrote
        name = getattr(owner, "__qualname__", owner)
        raise UntypableError(f"has hints ({name}) that cannot be resolved: {exc}") from exc


_Found = tuple[RecordKind, list[FoundField]]


def _dataclass(cls: type) -> _Found | None:
    if not dataclasses.is_dataclass(cls):
        return None
    hints = hints_of(cls)
    fields = [
        FoundField(name=each.name, hint=hints[each.name], default=_dataclass_default(each))
        for each in dataclasses.fields(cls)
        if each.init
    ]
    _check_constructor(cls, {each.name for each in fields})
    return RecordKind.OBJECT, fields


def _dataclass_default(field: dataclasses.Field[Any]) -> Default:
    if field.default is not dataclasses.MISSING:
        return default_of(field.default)
    if field.default_factory is dataclasses.MISSING:
        return Default.REQUIRED
    return _factory_default(field.default_factory)


def _factory_default(factory: Callable[..., Any]) -> Default:
    return Default.EMPTY if factory in _COLLECTIONS else Default.OTHER


def _check_constructor(cls: type, names: set[str]) -> None:
    for parameter in inspect.signature(cls).parameters.values():
        needed = parameter.default is inspect.Parameter.empty
        if needed and parameter.kind.name in ("POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY"):
            if parameter.name not in names:
                raise UntypableError(
                    f"is {cls.__name__}, whose constructor needs {parameter.name!r}, "
                    "which is none of its fields"
                )


def _typed_dict(cls: type) -> _Found | None:
    if not typing.is_typeddict(cls):
        return None
    marked = hints_of(cls, include_extras=True)
    return RecordKind.TYPED_DICT, [
        FoundField(
            name=name,
            hint=hint,
            default=Default.REQUIRED if _is_required(cls, name, marked[name]) else Default.OTHER,
        )
        for name, hint in hints_of(cls).items()
    ]


def _is_required(cls: Any, name: str, hint: Any) -> bool:
    # What the class itself knows misses marks in annotations that were strings.
    mark = typing.get_origin(hint)
    if mark is typing.Required or mark is typing.NotRequired:
        return mark is typing.Required
    return name in cls.__required_keys__


def _named_tuple(cls: type) -> _Found | None:
    if not issubclass(cls, tuple) or not hasattr(cls, "_field_defaults"):
        return None
    hints = hints_of(cls)
    defaults: Mapping[str, Any] = cls._field_defaults
    names: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]  # NamedTuples' own
    return RecordKind.OBJECT, [
        FoundField(
            name=name,
            hint=hints.get(name, Any),
            default=default_of(defaults[name]) if name in defaults else Default.REQUIRED,
        )
        for name in names
    ]


def _pydantic(cls: Any) -> _Found | None:
    # Not imported here: who has no pydantic has no such class.
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not issubclass(cls, pydantic.BaseModel):
        return None
    by_name = _takes_names(cls)
    fields: Mapping[str, Any] = cls.model_fields
    return RecordKind.PYDANTIC, [
        FoundField(
            name=name,
            hint=field.annotation,
            default=_pydantic_default(field),
            argument=name if by_name else _alias(cls, name, field),
        )
        for name, field in fields.items()
    ]


def is_reference_to(hint: Any, cls: Any) -> bool:
    """Whether a hint is what pydantic has in a generic model in place of that model itself."""
    reference = getattr(hint, "type_ref", None)
    generic = getattr(cls, "__pydantic_generic_metadata__", None)
    if reference is None or generic is None:
        return False
    # It names the model and its arguments with their ids: `module.Page:140[Item:141]`.
    named = [generic["origin"], *(each for each in generic["args"] if isinstance(each, type))]
    return all(f":{id(each)}" in reference for each in named)


def _takes_names(cls: Any) -> bool:
    config: Mapping[str, Any] = cls.model_config
    return bool(config.get("populate_by_name") or config.get("validate_by_name"))


def _alias(cls: type, name: str, field: Any) -> str:
    alias = field.validation_alias or field.alias or name
    choices = getattr(alias, "choices", [alias])  # an AliasChoices
    for choice in choices:
        if isinstance(choice, str):
            return choice
    raise UntypableError(f"is {cls.__name__}, whose field {name!r} is found by a path only")


def _pydantic_default(field: Any) -> Default:
    if field.is_required():
        return Default.REQUIRED
    if field.default_factory is not None:
        return _factory_default(field.default_factory)
    return default_of(field.default)


def _filled_in(fields: list[FoundField], hint: Any) -> tuple[FoundField, ...]:
    variables = _type_variables(hint)
    return tuple(
        dataclasses.replace(field, hint=_substitute(field.hint, variables)) for field in fields
    )


def _type_variables(hint: Any) -> dict[Any, Any]:
    """What stands for each type variable of a generic class and of its generic bases."""
    cls = typing.get_origin(hint) or hint
    found = dict(zip(getattr(cls, "__parameters__", ()), typing.get_args(hint), strict=False))
    for base in getattr(cls, "__orig_bases__", ()):
        if typing.get_origin(base) is not typing.Generic:
            for variable, given in _type_variables(base).items():
                found.setdefault(variable, _substitute(given, found))
    return found


def _substitute(hint: Any, variables: Mapping[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return variables.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if isinstance(hint, type) or not parameters:
        return hint
    return hint[tuple(variables.get(parameter, parameter) for parameter in parameters)]
