"""Constructor arguments on their way to a replica: handles in place of applications.

Plain JSON stays readable, with `{"$deployment": NAME}` where a handle goes; anything else is
cloudpickled, with a persistent id in that place.
"""

from __future__ import annotations

import inspect
import io
import json
import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cloudpickle

from meshgen.errors import SerializationError
from meshgen.serve.deployment import Application

_MARK = "$deployment"
# Python refuses to read or write decimal numbers far beyond this.
_JSON_INT_BITS = 1024


@dataclass(frozen=True, slots=True)
class Arguments:
    """Packed constructor arguments: JSON text, or a pickle where JSON cannot hold them."""

    json: str | None = None
    pickle: bytes | None = None


def find_applications(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Application], list[SerializationError]]:
    """The applications among constructor arguments, at any depth, in order, each once.

    Also an error for each argument that cannot be pickled, naming it.
    """
    found: dict[int, Application] = {}
    errors: list[SerializationError] = []

    def note(application: Application) -> str:
        found.setdefault(id(application), application)
        return ""

    for label, value in _labelled(args, kwargs):
        try:
            _dump(value, note, label)
        except SerializationError as exc:
            errors.append(exc)
    return list(found.values()), errors


def misfit(
    target: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> str | None:
    """Why a constructor could not be called like that, as the end of a sentence; None if it can."""
    if not inspect.isclass(target):
        return "it is a function, and has no constructor" if args or kwargs else None
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # as some classes written in C
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as exc:
        return f"its constructor is {target.__name__}{_plain(signature)}: {exc}"
    return None


def _plain(signature: inspect.Signature) -> inspect.Signature:
    """Without types, which nothing here is about."""
    empty = inspect.Parameter.empty
    parameters = [each.replace(annotation=empty) for each in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=empty)


def pack(
    args: Sequence[Any], kwargs: Mapping[str, Any], name_of: Callable[[Application], str]
) -> Arguments:
    """Pack arguments, naming the deployment of each application with `name_of`.

    Raises:
        SerializationError: An argument cannot be pickled; the message names it.
    """
    marked = {"args": list(args), "kwargs": dict(kwargs)}
    if _is_json(marked):
        text = json.dumps(
            marked, default=lambda app: {_MARK: name_of(app)}, indent=2, ensure_ascii=False
        )
        return Arguments(json=text)
    return Arguments(pickle=_dump((tuple(args), dict(kwargs)), name_of, "its arguments"))


def unpack(
    packed: Arguments, handle_of: Callable[[str], Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as the constructor gets them, with `handle_of` a deployment's name."""
    handles: dict[str, Any] = {}

    def once(name: str) -> Any:
        if name not in handles:
            handles[name] = handle_of(name)
        return handles[name]

    if packed.json is not None:
        plain = json.loads(
            packed.json, object_hook=lambda node: once(node[_MARK]) if _MARK in node else node
        )
        return tuple(plain["args"]), plain["kwargs"]
    assert packed.pickle is not None
    unpickler = _Unpickler(io.BytesIO(packed.pickle))
    unpickler.handle_of = once
    args, kwargs = unpickler.load()
    return args, kwargs


def _labelled(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    positional = [(f"argument {index}", value) for index, value in enumerate(args, start=1)]
    return positional + [(f"argument {name!r}", value) for name, value in kwargs.items()]


def _is_json(value: Any) -> bool:
    """Whether JSON gives back the very same value."""
    try:
        return _has_json_types(value)
    except RecursionError:  # it contains itself
        return False


def _has_json_types(value: Any) -> bool:
    if value is None or type(value) is bool or isinstance(value, Application):
        return True
    if type(value) is str:
        return _is_unicode(value)
    if type(value) is int:
        return value.bit_length() <= _JSON_INT_BITS
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is list:
        return all(map(_has_json_types, value))
    if type(value) is dict:
        return _MARK not in value and all(
            type(key) is str and _has_json_types(key) and _has_json_types(item)
            for key, item in value.items()
        )
    return False


def _is_unicode(text: str) -> bool:
    """Whether it can be written to a file: no lone surrogates, as odd file names have them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no type information
    name_of: Callable[[Application], str]

    def persistent_id(self, obj: Any) -> str | None:
        return self.name_of(obj) if isinstance(obj, Application) else None


class _Unpickler(pickle.Unpickler):
    handle_of: Callable[[str], Any]

    def persistent_load(self, pid: Any) -> Any:
        return self.handle_of(pid)


def _dump(value: Any, name_of: Callable[[Application], str], label: str) -> bytes:
    file = io.BytesIO()
    pickler = _Pickler(file, protocol=5)
    pickler.name_of = name_of
    try:
        pickler.dump(value)
    except Exception as exc:
        raise SerializationError(
            f"{label} ({type(value).__name__}) cannot be pickled: {exc}"
        ) from exc
    return file.getvalue()
