"""`@serve.deployment`, `.options()` and `.bind()`: what a user composes an application from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, overload

from meshgen.errors import OptionError, OptionTypeError, UnknownMethodError
from meshgen.serve.options import DeploymentKwargs, DeploymentOptions

P = ParamSpec("P")
R = TypeVar("R")


class Deployment(Generic[P, R]):
    """A class or function that can be deployed, with its options. Made by `@serve.deployment`."""

    def __init__(
        self,
        func_or_class: Callable[P, R],
        name: str,
        options: DeploymentOptions,
    ) -> None:
        self.func_or_class = func_or_class
        self.name = name
        self.deployment_options = options

    def bind(self, *args: Any, **kwargs: Any) -> Application:
        """An application of this deployment, constructed with these arguments.

        Applications among the arguments, at any depth, become handles in the constructor: so the
        arguments are not of the types that the constructor says.
        """
        return Application(self, args, kwargs)

    def options(
        self,
        func_or_class: Callable[..., Any] | None = None,
        **options: Unpack[DeploymentKwargs],
    ) -> Deployment[P, R]:
        """A copy with some options changed.

        Raises:
            OptionError: A value cannot work.
            OptionTypeError: There is no such option, or `func_or_class` is neither.
        """
        target: Any = self.func_or_class if func_or_class is None else func_or_class
        return _deployment(target, {"name": self.name, **options}, self.deployment_options)

    @property
    def num_replicas(self) -> int:
        """How many replicas start."""
        return self.deployment_options.num_replicas

    @property
    def user_config(self) -> Any:
        """What `reconfigure` gets."""
        return self.deployment_options.user_config

    @property
    def max_ongoing_requests(self) -> int:
        """How many calls one replica runs at a time."""
        return self.deployment_options.max_ongoing_requests

    @property
    def max_queued_requests(self) -> int:
        """How many calls one caller holds back; -1 is no bound."""
        return self.deployment_options.max_queued_requests

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: a deployment is bound, not called."""
        raise OptionError(
            f"{self.name} is a deployment and cannot be called or constructed directly: "
            f"bind it ({self.name}.bind(...)) and call it through its handle"
        )

    def __repr__(self) -> str:
        return f"Deployment(name={self.name})"


class Application:
    """A deployment bound to its constructor's arguments: a node of the graph. Made by `.bind()`.

    Identity matters: one Application bound in two places is one service.
    """

    def __init__(
        self, deployment: Deployment[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.deployment = deployment
        self.args = args
        self.kwargs = kwargs

    def __getattr__(self, name: str) -> Any:
        if name == "remote":
            raise UnknownMethodError(
                f"an Application has no 'remote': run it first (handle = serve.run(app)) "
                f"and call the handle ({self.deployment.name})"
            )
        raise AttributeError(f"'Application' object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"Application({self.deployment.name})"


@overload
def deployment(
    _func_or_class: Callable[P, R], **options: Unpack[DeploymentKwargs]
) -> Deployment[P, R]: ...
@overload
def deployment(
    _func_or_class: None = None, **options: Unpack[DeploymentKwargs]
) -> Callable[[Callable[P, R]], Deployment[P, R]]: ...
def deployment(
    _func_or_class: Callable[..., Any] | None = None, **options: Unpack[DeploymentKwargs]
) -> Any:
    """Make a class or function deployable. Used bare, called empty, or with options.

    Args:
        name: The deployment's name; the class's or function's by default.
        num_replicas: Processes to start; 1 by default.
        ray_actor_options: `num_cpus`, `num_gpus`, `memory` (bytes) and `runtime_env` of a replica.
        user_config: JSON given to `reconfigure` after the constructor and at each change.
        max_ongoing_requests: Calls one replica runs at a time; 5 by default.
        max_queued_requests: Calls one caller holds back beyond that; -1, no bound, by default.
        graceful_shutdown_timeout_s: How long a leaving replica may finish calls; 20 s by default.
        expose: Whether the gateway serves its typed methods to outsiders, as an ingress's.
        may_call: Names of deployments that it calls by handles that its constructor was not given;
            ["*"] for all. A built mesh refuses calls that neither this nor `.bind` lets through.

    Raises:
        OptionError: A value cannot work.
        OptionTypeError: There is no such option, or this is no class or function.
    """

    def decorate(target: Callable[..., Any]) -> Deployment[..., Any]:
        return _deployment(target, dict(options), DeploymentOptions())

    return decorate if _func_or_class is None else decorate(_func_or_class)


def _deployment(
    target: Callable[P, R], given: dict[str, Any], base: DeploymentOptions
) -> Deployment[P, R]:
    if not _is_deployable(target):
        raise OptionTypeError(
            f"@serve.deployment is for classes and functions, not for {target!r}; "
            "options such as the name go by keyword"
        )
    name = given.pop("name", None)
    name = _check_name(target.__name__ if name is None else name)
    options = base.updated(given)
    if options.user_config is not None and not inspect.isclass(target):
        raise OptionError(f"{name} is a function: user_config needs a class with `reconfigure`")
    return Deployment(target, name, options)


def _is_deployable(target: object) -> bool:
    return inspect.isclass(target) or inspect.isroutine(target)


def _check_name(name: Any) -> str:
    if not isinstance(name, str):
        raise OptionTypeError(f"a deployment's name must be a string, got {name!r}")
    if not name or "#" in name:
        raise OptionError(f"a deployment's name must not be empty or contain '#', got {name!r}")
    return name
