"""The options of a deployment: what may be said, and what each value must be."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypedDict

from meshgen.errors import OptionError, OptionTypeError

# What Ray Serve has and a mesh cannot: each with the nearest thing there is.
_NOT_HERE = {
    "backpressure_config": "set `max_queued_requests`",
    "version": "redeploying replaces the replicas; no version is needed",
    "placement_group_bundles": "set `ray_actor_options` per deployment",
    "placement_group_strategy": "place services by your orchestrator's own constraints",
    "placement_group_bundle_label_selector": "use your orchestrator's own constraints",
    "max_replicas_per_node": "use your orchestrator's own constraints",
    "gang_scheduling_config": "scale the services by themselves",
    "deployment_actors": "bind another deployment and call it by its handle",
    "request_router_config": "replicas are chosen by power of two choices",
    "rolling_update_percentage": "use your orchestrator's own update settings",
    "max_surge_percent": "use your orchestrator's own update settings",
    "route_prefix": "pass `route_prefix` to `serve.run`",
}
_ACTOR_OPTIONS = {"num_cpus", "num_gpus", "memory", "resources", "accelerator_type", "runtime_env"}
_RUNTIME_ENV = {"pip", "env_vars", "working_dir"}


class DeploymentKwargs(TypedDict, total=False):
    """The keyword arguments of `@serve.deployment` and `Deployment.options`."""

    name: str
    num_replicas: int | Literal["auto"] | None
    ray_actor_options: Mapping[str, Any] | None
    user_config: Any
    max_ongoing_requests: int
    max_queued_requests: int
    autoscaling_config: Any
    graceful_shutdown_wait_loop_s: float
    graceful_shutdown_timeout_s: float
    health_check_period_s: float
    health_check_timeout_s: float
    max_constructor_retry_count: int
    logging_config: Any
    expose: bool
    may_call: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorOptions:
    """What one replica needs of its machine. CPUs may be fractions; memory is in bytes."""

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory: int | None = None
    accelerator_type: str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    pip: tuple[str, ...] = ()
    env_vars: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None

    def __post_init__(self) -> None:
        for name in ("num_cpus", "num_gpus"):
            _not_negative(f"{name} of ray_actor_options", getattr(self, name))
        if self.memory is not None:
            _positive("memory of ray_actor_options", self.memory)
        for name in ("accelerator_type", "working_dir"):
            if not isinstance(getattr(self, name), str | None):
                raise OptionTypeError(f"{name} must be a string, got {getattr(self, name)!r}")

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> ActorOptions:
        """Read `ray_actor_options` as a user writes them.

        Raises:
            OptionError: A key is unknown, or a value cannot work.
            OptionTypeError: A value has the wrong type.
        """
        plain = _mapping("ray_actor_options", given, _ACTOR_OPTIONS)
        env = _mapping("runtime_env", plain.pop("runtime_env", {}), _RUNTIME_ENV)
        plain["resources"] = _mapping("resources of ray_actor_options", plain.get("resources", {}))
        for name, amount in plain["resources"].items():
            _not_negative(f"{name} of ray_actor_options", amount)
        if isinstance(plain.get("memory"), float) and math.isfinite(plain["memory"]):
            plain["memory"] = int(plain["memory"])
        env_vars = _mapping("env_vars of runtime_env", env.get("env_vars", {}))
        return cls(
            **plain,
            pip=_requirements(env.get("pip", ())),
            env_vars={str(key): str(value) for key, value in env_vars.items()},
            working_dir=env.get("working_dir"),
        )


def _mapping(what: str, given: Any, known: set[str] | None = None) -> dict[str, Any]:
    """What is set in a mapping, which has known keys only."""
    if not isinstance(given, Mapping):
        raise OptionTypeError(f"{what} must be a mapping, got {given!r}")
    unknown = sorted(map(str, given.keys() - known)) if known is not None else []
    if known is not None and unknown:
        raise OptionError(
            f"{what} has {', '.join(unknown)}, which meshgen does not know; "
            f"it knows {', '.join(sorted(known))}"
        )
    return {key: value for key, value in given.items() if value is not None}


def _requirements(pip: Any) -> tuple[str, ...]:
    """`pip` as a list of requirements, a mapping with `packages`, or a requirements file's path."""
    if isinstance(pip, Mapping):
        pip = pip.get("packages", ())
    if isinstance(pip, str):
        try:
            with open(pip, encoding="utf-8") as file:
                pip = [line.strip() for line in file]
        except OSError as exc:
            raise OptionError(f"runtime_env names the pip file {pip!r}, which: {exc}") from exc
    if not isinstance(pip, Iterable) or not all(isinstance(line, str) for line in pip):
        raise OptionTypeError("pip of runtime_env must be a list of requirement strings")
    return tuple(line for line in pip if line and not line.startswith("#"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentOptions:
    """How one deployment runs. Times are in seconds; -1 queued requests is no bound.

    The gateway serves the typed methods of an exposed one to outsiders, as those of an ingress.
    `may_call` names deployments of its application that it calls without having been given their
    handles by its constructor; "*" is all of them.
    """

    num_replicas: int = 1
    max_ongoing_requests: int = 5
    max_queued_requests: int = -1
    user_config: Any = None
    actor: ActorOptions = field(default_factory=ActorOptions)
    graceful_shutdown_wait_loop_s: float = 2.0
    graceful_shutdown_timeout_s: float = 20.0
    health_check_period_s: float = 10.0
    health_check_timeout_s: float = 30.0
    max_constructor_retry_count: int = 1
    expose: bool = False
    may_call: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("num_replicas", "max_ongoing_requests", "max_constructor_retry_count"):
            _at_least_one(name, getattr(self, name))
        if self.max_queued_requests != -1:
            _at_least_one("max_queued_requests", self.max_queued_requests)
        for name in ("graceful_shutdown_wait_loop_s", "graceful_shutdown_timeout_s"):
            _not_negative(name, getattr(self, name))
        for name in ("health_check_period_s", "health_check_timeout_s"):
            _positive(name, getattr(self, name))
        if not isinstance(self.expose, bool):
            raise OptionTypeError(f"expose must be True or False, got {self.expose!r}")
        if not all(isinstance(name, str) for name in self.may_call):
            raise OptionTypeError(f"may_call must be names of deployments, got {self.may_call!r}")
        _json(self.user_config)

    def updated(self, given: Mapping[str, Any]) -> DeploymentOptions:
        """A copy with the options that the user gave.

        Raises:
            OptionError: A value cannot work, or an option belongs to Ray clusters only.
            OptionTypeError: There is no such option, or a value has the wrong type.
        """
        refuse_unknown(given)
        changes = {key: value for key, value in given.items() if key in _FIELDS}
        if changes.get("num_replicas", 1) is None:
            del changes["num_replicas"]
        changes.update(_from_autoscaling(given))
        if given.get("ray_actor_options") is not None:
            changes["actor"] = ActorOptions.parse(given["ray_actor_options"])
        if "may_call" in given:
            changes["may_call"] = _names("may_call", given["may_call"])
        return replace(self, **changes)


_FIELDS = {f.name for f in fields(DeploymentOptions)} - {"actor"}
_KNOWN = set(DeploymentKwargs.__annotations__)


def refuse_unknown(given: Mapping[str, Any]) -> None:
    """Refuse options that do not exist, and those that only a Ray cluster has.

    Raises:
        OptionError: Only a Ray cluster has it; the message names the nearest thing here.
        OptionTypeError: There is no such option.
    """
    for name in given:
        if name in _NOT_HERE:
            raise OptionError(f"@serve.deployment({name}=...) is not for a mesh: {_NOT_HERE[name]}")
        if name not in _KNOWN:
            raise OptionTypeError(f"@serve.deployment has no option {name!r}")


def _from_autoscaling(given: Mapping[str, Any]) -> dict[str, int]:
    """The number of replicas to start with, where it is left to autoscaling."""
    config = given.get("autoscaling_config")
    count = given.get("num_replicas")
    if config is None:
        return {"num_replicas": 1} if count == "auto" else {}
    if isinstance(count, int):
        raise OptionError("give either num_replicas or autoscaling_config, not both")
    if not isinstance(config, Mapping) and not hasattr(config, "__dict__"):
        raise OptionTypeError(f"autoscaling_config must be a mapping, got {config!r}")
    wanted = config if isinstance(config, Mapping) else vars(config)
    low, high = wanted.get("min_replicas", 1), wanted.get("max_replicas", 1)
    start = wanted.get("initial_replicas")
    counts = {"min_replicas": low, "max_replicas": high, "initial_replicas": start or low}
    for name, number in counts.items():
        _whole(f"{name} of autoscaling_config", number)
        _not_negative(f"{name} of autoscaling_config", number)
    if high < low:
        raise OptionError(f"autoscaling_config has max_replicas {high} below min_replicas {low}")
    return {"num_replicas": max(1, start or low)}


def _names(name: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise OptionTypeError(f"{name} must be a list of names, got {given!r}")
    return tuple(given)


def _at_least_one(name: str, value: Any) -> None:
    _whole(name, value)
    if value < 1:
        raise OptionError(f"{name} must be at least 1, got {value}")


def _whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionTypeError(f"{name} must be a whole number, got {value!r}")


def _not_negative(name: str, value: Any) -> None:
    _finite(name, value)
    if value < 0:
        raise OptionError(f"{name} must not be negative, got {value}")


def _positive(name: str, value: Any) -> None:
    _finite(name, value)
    if value <= 0:
        raise OptionError(f"{name} must be positive, got {value}")


def _finite(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OptionTypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value):
        raise OptionError(f"{name} must be finite, got {value}")


def _json(user_config: Any) -> None:
    try:
        json.dumps(user_config, ensure_ascii=False).encode()
    except (TypeError, ValueError) as exc:
        raise OptionError(f"user_config must be JSON: {exc}") from exc
