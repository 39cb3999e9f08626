"""`DeploymentHandle`: how code calls a deployment, wherever that runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from meshgen.errors import GeneratorMismatchError, OptionError, OptionTypeError
from meshgen.objectref import composing
from meshgen.serve.context import current_caller, current_request
from meshgen.serve.response import DeploymentResponse, DeploymentResponseGenerator
from meshgen.stub import DeploymentStub, MethodStub
from meshgen.types import Caller, CallPolicy, DeploymentID, RequestContext, new_id

__all__ = ["DeploymentHandle", "DeploymentResponse", "DeploymentResponseGenerator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleOptions:
    """How a handle calls. `timeout_s` is for each call from `.remote()` to its result; with
    `compose_streams` the calls take streams as arguments. The last two say what may be done for
    unary calls, in place of what their method declares (`@serve.method`)."""

    method_name: str = "__call__"
    stream: bool = False
    compose_streams: bool = False
    multiplexed_model_id: str = ""
    session_id: str = ""
    timeout_s: float | None = None
    idempotent: bool | None = None
    hedge_after_s: float | None = None

    def updated(self, given: Mapping[str, Any]) -> HandleOptions:
        """A copy with some options changed.

        Raises:
            OptionTypeError: There is no such option.
            OptionError: A value cannot work.
        """
        unknown = sorted(set(given) - set(self.__slots__))
        if unknown:
            raise OptionTypeError(
                f"DeploymentHandle.options() has no {', '.join(unknown)}; "
                f"it has {', '.join(self.__slots__)}"
            )
        for name, value in given.items():
            is_wrong_bool = isinstance(value, bool) and name not in _SWITCHES
            if is_wrong_bool or not isinstance(value, _TYPES[name]):
                raise OptionTypeError(f"{name} of DeploymentHandle.options() cannot be {value!r}")
        changed = replace(self, **given)
        if changed.timeout_s is not None and not changed.timeout_s > 0:
            raise OptionError(f"timeout_s must be positive, got {changed.timeout_s}")
        # Refused here and now, if that can be known without the method.
        CallPolicy(idempotent=changed.idempotent is not False, hedge_after_s=changed.hedge_after_s)
        return changed

    def policy(self, method: MethodStub) -> CallPolicy | None:
        """What may be done for calls of a method; None if each is to run once at most.

        Raises:
            OptionError: These options ask for a second copy of what may run once only.
        """
        idempotent = method.idempotent if self.idempotent is None else self.idempotent
        hedge_after_s = self.hedge_after_s
        if idempotent and hedge_after_s is None:
            hedge_after_s = method.hedge_after_s
        if not idempotent and hedge_after_s is None:
            return None
        return CallPolicy(idempotent=idempotent, hedge_after_s=hedge_after_s)


_TYPES = {
    "method_name": str,
    "stream": bool,
    "compose_streams": bool,
    "multiplexed_model_id": str,
    "session_id": str,
    "timeout_s": int | float | None,
    "idempotent": bool | None,
    "hedge_after_s": int | float | None,
}
_SWITCHES = {"stream", "compose_streams", "idempotent"}


_DEFAULTS = HandleOptions()


class DeploymentHandle:
    """Calls one deployment: `handle.remote(...)`, `handle.method.remote(...)`.

    Picklable, usable from any thread and any event loop, and as an argument of other calls.
    """

    def __init__(
        self,
        stub: DeploymentStub,
        options: HandleOptions = _DEFAULTS,
        caller: Caller | None = None,
    ) -> None:
        self._stub = stub
        self._options = options
        # Looked up by the first call.
        self._method: MethodStub | None = None
        self._policy: CallPolicy | None = None
        # Whether a call may belong to its caller's request just as that is.
        self._is_plain = not (
            options.timeout_s or options.multiplexed_model_id or options.session_id
        )
        # A handle made for one mesh keeps to it; one that was unpickled finds its process's.
        self._caller = caller

    @property
    def deployment_id(self) -> DeploymentID:
        """Application and deployment that this handle calls."""
        return self._stub.id

    @property
    def deployment_name(self) -> str:
        """The deployment's name."""
        return self._stub.id.name

    @property
    def app_name(self) -> str:
        """The application's name."""
        return self._stub.id.app

    @property
    def stub(self) -> DeploymentStub:
        """What this handle knows of its deployment."""
        return self._stub

    def options(self, **options: Any) -> DeploymentHandle:
        """A handle with `method_name`, `stream`, `timeout_s` (seconds) … changed; the rest stays.

        Raises:
            OptionTypeError: There is no such option.
            OptionError: A value cannot work.
        """
        return DeploymentHandle(self._stub, self._options.updated(options), self._caller)

    def __getattr__(self, name: str) -> DeploymentHandle:
        if name.startswith("__"):
            raise AttributeError(f"'DeploymentHandle' object has no attribute {name!r}")
        options = replace(self._options, method_name=name)
        # Kept as an attribute: the next access does not come here.
        handle = self.__dict__[name] = DeploymentHandle(self._stub, options, self._caller)
        return handle

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the method and return at once: a `DeploymentResponse`, or with `stream=True` a
        `DeploymentResponseGenerator`.

        Raises:
            UnknownMethodError: The deployment has no such method.
            SignatureError: The method could not accept these arguments.
            SerializationError: An argument cannot be pickled.
            NotServingError: No mesh runs here.
            OptionError: `hedge_after_s` was given for a method that is not idempotent.
        """
        method = self._method
        if method is None:
            method = self._stub.method(self._options.method_name)
            self._policy = self._options.policy(method)
            self._method = method
        method.check(self._stub.id, args, kwargs)
        if self._options.compose_streams:
            with composing():
                return self._send(method, args, kwargs)
        return self._send(method, args, kwargs)

    def _send(self, method: MethodStub, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        caller = self._caller or current_caller()
        context = self._context()
        if self._options.stream:
            stream: DeploymentResponseGenerator[Any]
            stream = DeploymentResponseGenerator(context.request_id)
            caller.open_stream(self._stub, method.name, (args, kwargs), context, stream.items)
            return stream
        if method.streams:
            raise GeneratorMismatchError(
                f"{self._stub.id}.{method.name} is a generator: call it by "
                f"handle.options(stream=True).{method.name}.remote(...)"
            )
        response: DeploymentResponse[Any] = DeploymentResponse(context.request_id)
        arguments = (args, kwargs)
        caller.submit(self._stub, method.name, arguments, context, response, self._policy)
        return response

    def _context(self) -> RequestContext:
        """The request that this call belongs to, with this handle's options and deadline."""
        options, parent = self._options, current_request.get()
        if parent is not None and self._is_plain and not parent.multiplexed_model_id:
            return parent
        deadline = None if options.timeout_s is None else time.monotonic() + options.timeout_s
        if parent is None:
            return RequestContext(
                request_id=new_id(),
                app_name=self._stub.id.app,
                multiplexed_model_id=options.multiplexed_model_id,
                session_id=options.session_id,
                deadline=deadline,
            )
        return RequestContext(
            request_id=parent.request_id,
            route=parent.route,
            app_name=self._stub.id.app,
            multiplexed_model_id=options.multiplexed_model_id,
            session_id=options.session_id or parent.session_id,
            deadline=min(
                (at for at in (deadline, parent.deadline) if at is not None), default=None
            ),
            is_served=parent.is_served,
            calls=parent.shared_calls() if parent.is_served else None,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return DeploymentHandle, (self._stub, self._options)

    def __repr__(self) -> str:
        return f"DeploymentHandle(deployment={self._stub.id.name!r})"
