"""What a handle knows of its deployment: the methods, and which calls fit them."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from meshgen.errors import SignatureError, UnknownMethodError
from meshgen.types import CallPolicy, DeploymentID, Place

# Where a method says what may be done for its calls; wrappers made by `functools.wraps` say it too.
POLICY = "__meshgen_policy__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a method, as `inspect.Parameter` names its kind."""

    name: str
    kind: str = "POSITIONAL_OR_KEYWORD"
    required: bool = True


@dataclass(frozen=True, kw_only=True)
class MethodStub:
    """One method: its name, whether it is a generator, and its parameters without `self`.

    `parameters` is None where the signature cannot be read; every call fits then. The last two are
    a `CallPolicy`.
    """

    name: str
    streams: bool = False
    parameters: tuple[Parameter, ...] | None = None
    idempotent: bool = False
    hedge_after_s: float | None = None

    @functools.cached_property
    def _plain(self) -> tuple[int, int]:
        """How many positional arguments alone satisfy it, as (fewest, most); (1, 0) if none."""
        if self.parameters is None:
            return 0, 1 << 30
        if any(p.kind == "KEYWORD_ONLY" and p.required for p in self.parameters):
            return 1, 0
        positional = [p for p in self.parameters if p.kind.startswith("POSITIONAL")]
        open_ended = any(p.kind == "VAR_POSITIONAL" for p in self.parameters)
        fewest = sum(p.required for p in positional)
        return fewest, 1 << 30 if open_ended else len(positional)

    @functools.cached_property
    def _free(self) -> frozenset[str]:
        """Keywords that go into `**kwargs` though a positional-only parameter has their name."""
        # Such calls are fine, but `Signature.bind` refuses them before Python 3.13.
        parameters = self.parameters or ()
        if not any(p.kind == "VAR_KEYWORD" for p in parameters):
            return frozenset()
        return frozenset(p.name for p in parameters if p.kind == "POSITIONAL_ONLY")

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The signature rebuilt, without types."""
        return inspect.Signature(
            [
                inspect.Parameter(
                    p.name,
                    getattr(inspect.Parameter, p.kind),
                    default=inspect.Parameter.empty
                    if p.required or p.kind.startswith("VAR")
                    else None,
                )
                for p in self.parameters or ()
            ]
        )

    def check(
        self, owner: DeploymentID | str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Refuse a call that the method could not accept.

        Raises:
            SignatureError: The arguments do not bind.
        """
        fewest, most = self._plain
        if (not kwargs and fewest <= len(args) <= most) or self.parameters is None:
            return
        try:
            self.signature.bind(*args, **{k: v for k, v in kwargs.items() if k not in self._free})
        except TypeError as exc:
            shown = str(self.signature).replace("=None", "=...")
            raise SignatureError(
                f"{owner}.{self.name}{shown} cannot be called like that: {exc}"
            ) from None


@dataclass(frozen=True, kw_only=True)
class DeploymentStub:
    """One deployment as its callers see it.

    `service` is its DNS name. A function deployment ignores method names, as in Ray Serve.
    `open_ended` classes answer to methods that cannot be listed (`__getattr__`).
    """

    id: DeploymentID
    service: str
    methods: Mapping[str, MethodStub] = field(default_factory=dict)
    is_function: bool = False
    open_ended: bool = False
    # How many calls one caller may hold back; -1 is no bound.
    max_queued_requests: int = -1
    # Set where only one replica can answer.
    place: Place | None = None

    @functools.cached_property
    def key(self) -> str:
        """Tells deployments apart, and one from itself with other methods."""
        methods = repr(sorted(self.methods.items())).encode(errors="backslashreplace")
        return f"{self.id} {blake2b(methods, digest_size=8).hexdigest()}"

    def at(self, place: Place) -> DeploymentStub:
        """The same for what only one replica can answer."""
        stub = replace(self, place=place)
        # Not worked out anew for each call of an actor.
        stub.__dict__["key"] = self.key
        return stub

    def method(self, name: str) -> MethodStub:
        """The method's stub.

        Raises:
            UnknownMethodError: There is none of that name.
        """
        found = self.methods.get("__call__" if self.is_function else name)
        if found is not None:
            return found
        if self.open_ended:
            return MethodStub(name=name)
        raise UnknownMethodError(
            f"deployment {self.id} has no method {name!r}. {self._suggest(name)}"
        )

    def _suggest(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.methods, n=1)
        if close:
            return f"Did you mean {close[0]!r}?"
        return f"It has: {', '.join(sorted(self.methods)) or 'none'}."

    def __hash__(self) -> int:
        return hash(self.id)


def method_stubs(target: Callable[..., Any]) -> dict[str, MethodStub]:
    """The stubs of a deployment's function, or of the public methods of its class."""
    if not inspect.isclass(target):
        return {"__call__": _method_stub("__call__", target, bound=True)}
    names = [name for name in dir(target) if name == "__call__" or not name.startswith("__")]
    found = {}
    for name in names:
        if name == "__call__" and not _defines_call(target):
            continue
        static = inspect.getattr_static(target, name)
        member = getattr(target, name, None)
        if callable(member) and not inspect.isclass(static):
            found[name] = _method_stub(name, member, bound=not _takes_self(static))
    return found


def _defines_call(cls: type) -> bool:
    return any("__call__" in base.__dict__ for base in cls.__mro__)


def _takes_self(static: Any) -> bool:
    # What is no descriptor (a partial, a callable object, a builtin) is called as it is.
    return hasattr(static, "__get__") and not isinstance(static, (staticmethod, classmethod))


def _method_stub(name: str, member: Callable[..., Any], *, bound: bool) -> MethodStub:
    # Not unwrapped: a decorator may gather what the generator inside of it yields.
    streams = inspect.isgeneratorfunction(member) or inspect.isasyncgenfunction(member)
    policy = getattr(member, POLICY, None)
    if not isinstance(policy, CallPolicy):  # classes may have attributes of any name
        policy = CallPolicy()
    stub = MethodStub(
        name=name,
        streams=streams,
        idempotent=policy.idempotent,
        hedge_after_s=policy.hedge_after_s,
    )
    try:
        parameters = list(inspect.signature(member).parameters.values())
    except (TypeError, ValueError):
        return stub
    if not bound and parameters and parameters[0].kind.name.startswith("POSITIONAL"):
        parameters = parameters[1:]  # self
    return replace(
        stub,
        parameters=tuple(
            Parameter(
                name=p.name,
                kind=p.kind.name,
                required=p.default is inspect.Parameter.empty and not p.kind.name.startswith("VAR"),
            )
            for p in parameters
        ),
    )
