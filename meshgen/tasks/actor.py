"""`ActorClass` and `ActorHandle`: what `@meshgen.remote` makes of a class, and of its objects."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar

from meshgen.errors import OptionError, OptionTypeError, UnknownMethodError
from meshgen.objectref import ObjectRef
from meshgen.serve.response import DeploymentResponse
from meshgen.stub import MethodStub, method_stubs
from meshgen.tasks.code import CodeSender
from meshgen.tasks.declared import Declared
from meshgen.tasks.function import split
from meshgen.tasks.home import task_service
from meshgen.tasks.names import choose_replica
from meshgen.tasks.options import actor_options, method_options
from meshgen.tasks.places import ActorPlace, Later, Order, Shape
from meshgen.types import new_id

T = TypeVar("T")
# How many calls of an actor run at a time, unless its options say.
_SYNC, _ASYNC = 1, 1000


class ActorClass(Declared, Generic[T]):
    """A class whose objects live in the task service. Made by `@meshgen.remote`."""

    def __init__(self, func_or_class: type[T], options: Mapping[str, Any]) -> None:
        super().__init__(func_or_class, actor_options(options))
        self._sender = CodeSender()
        self._shape = _shape_of(func_or_class)
        self._constructor = _constructor(func_or_class)

    def remote(self, /, *args: Any, **kwargs: Any) -> ActorHandle:
        """Make an actor and return its handle at once. What the constructor raises is raised by
        every call of the actor.

        Raises:
            SignatureError: The constructor could not accept these arguments.
            SerializationError: The class or an argument cannot be pickled.
            NotServingError: This mesh has no task service.
        """
        self._constructor.check(self._shape.class_name, args, kwargs)
        service, given = task_service(), self.given
        name = actor_name(given.get("name"), given.get("namespace"))
        order = Order(
            actor_id=new_id(),
            name=name,
            get_if_exists=bool(given.get("get_if_exists")),
            max_concurrency=given.get("max_concurrency") or self._concurrency(),
            shape=self._shape,
        )
        code = self._sender.pack(self, service.caller)
        place = choose_replica(service, self._shape.class_name, name) if name else None
        made = service.call("create", (code, order, *args), kwargs, place=place, apart=True)
        known = None if order.get_if_exists else order.actor_id
        return ActorHandle(self._shape, ActorPlace(self._shape.class_name, name, made), known)

    def _concurrency(self) -> int:
        return _ASYNC if self._shape.is_async else _SYNC

    def options(self, **options: Any) -> ActorClass[T]:
        """A copy with some options changed.

        Raises:
            OptionError: A value cannot work.
            OptionTypeError: There is no such option.
        """
        return ActorClass(self.func_or_class, {**self.given, **options})  # type: ignore[arg-type]  # a class

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: its objects live elsewhere."""
        name = self.func_or_class.__qualname__
        raise OptionTypeError(
            f"{name} is an actor class and cannot be constructed directly: "
            f"use {name}.remote(...), or {name}.func_or_class(...) for an object right here"
        )

    def __repr__(self) -> str:
        return f"ActorClass({self.func_or_class.__qualname__})"


def actor_name(name: str | None, namespace: str | None) -> str:
    """The name that an actor is found by; empty for none."""
    return f"{namespace}/{name}" if name and namespace else name or ""


def _shape_of(cls: type) -> Shape:
    methods = method_stubs(cls)
    return Shape(
        class_name=cls.__qualname__,
        methods=methods,
        open_ended=hasattr(cls, "__getattr__"),
        is_async=any(inspect.iscoroutinefunction(getattr(cls, name, None)) for name in methods),
    )


def _constructor(cls: type) -> MethodStub:
    """The constructor's parameters."""
    return replace(method_stubs(partial(cls))["__call__"], name="remote")


class ActorHandle:
    """Calls one actor: `handle.method.remote(...)` returns an `ObjectRef` at once.

    Picklable, and usable from any thread and any event loop. The calls of one handle reach the
    actor in the order in which they were made.
    """

    def __init__(self, shape: Shape | None, place: ActorPlace, actor_id: str | None) -> None:
        self._shape = shape
        self._place = place
        self._actor_id = actor_id

    def __getattr__(self, name: str) -> ActorMethod:
        if name.startswith("__") and name != "__call__":
            raise AttributeError(f"'ActorHandle' object has no attribute {name!r}")
        return ActorMethod(self, name, self._method(name))

    def _method(self, name: str) -> MethodStub:
        shape = self._shape
        if shape is None:  # it is still being looked up
            return MethodStub(name=name)
        found = shape.methods.get(name)
        if found is None and not shape.open_ended:
            has = ", ".join(sorted(shape.methods)) or "none"
            raise UnknownMethodError(
                f"actor {shape.class_name} has no method {name!r}; it has: {has}"
            )
        return found or MethodStub(name=name)

    def _learn_id(self) -> str | None:
        """The actor's id, once it is known."""
        made = self._place.known
        if self._actor_id is None and made is not None:
            self._actor_id, self._shape = made.actor_id, made.shape
        return self._actor_id

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorHandle, (self._shape, self._place, self._actor_id)

    def __repr__(self) -> str:
        return f"ActorHandle({self._place.resident})"


# No method of the handle's: its attributes are the actor's.
def call_actor(
    handle: ActorHandle, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> ObjectRef[Any]:
    """Call a method of the task service's for an actor."""
    place = handle._place
    key = handle._learn_id() or Later(place.made)
    return task_service().call(method, (key, place.resident, *args), kwargs, place=place)


class ActorMethod:
    """One method of an actor."""

    def __init__(self, handle: ActorHandle, name: str, stub: MethodStub, count: int = 1) -> None:
        self._handle = handle
        self._name = name
        self._stub = stub
        self._count = count

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the method and return at once: an `ObjectRef`, a list of them with
        `num_returns`, or None with `num_returns=0`.

        An `ObjectRef` or `DeploymentResponse` that is an argument of its own becomes its value.

        Raises:
            SignatureError: The method could not accept these arguments.
            SerializationError: An argument cannot be pickled.
            OptionError: The method is a generator.
            NotServingError: This mesh has no task service.
        """
        if self._stub.streams:
            raise OptionError(
                f"{self._name} is a generator, which no actor's method can be: return a list, or "
                "make the class a deployment and call it by handle.options(stream=True)"
            )
        self._stub.check(repr(self._handle), args, kwargs)
        # Their values are awaited when it is the call's turn: it keeps its place in the order.
        late = tuple(map(_late, args))
        named = {name: _late(value) for name, value in kwargs.items()}
        result = call_actor(self._handle, "call", (self._name, self._count, *late), named)
        return result if self._count == 1 else split(task_service(), result, self._count)

    def options(self, **options: Any) -> ActorMethod:
        """The method with `num_returns` changed.

        Raises:
            OptionError: A value cannot work.
            OptionTypeError: There is no such option.
        """
        count = method_options(options).get("num_returns", self._count)
        return ActorMethod(self._handle, self._name, self._stub, count)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: it runs elsewhere."""
        raise OptionTypeError(
            f"{self._name} is a method of an actor and cannot be called directly: "
            f"use handle.{self._name}.remote(...)"
        )


def _late(argument: Any) -> Any:
    return Later(argument) if isinstance(argument, ObjectRef | DeploymentResponse) else argument
