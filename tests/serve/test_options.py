"""What may be said of a deployment: every default, every conversion, every refusal."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshgen.errors import MeshError, OptionError, OptionTypeError
from meshgen.serve.options import ActorOptions, DeploymentOptions


def _updated(**given: Any) -> DeploymentOptions:
    return DeploymentOptions().updated(given)


def _actor(**given: Any) -> ActorOptions:
    return _updated(ray_actor_options=given).actor


def test_the_defaults_are_ray_serves() -> None:
    """A migrated app behaves as it did; only a failing constructor is not tried again."""
    options = DeploymentOptions()
    assert (options.num_replicas, options.max_ongoing_requests, options.max_queued_requests) == (
        *(1, 5, -1),
    )
    assert (options.graceful_shutdown_wait_loop_s, options.graceful_shutdown_timeout_s) == (2, 20)
    assert (options.health_check_period_s, options.health_check_timeout_s) == (10, 30)
    assert (options.user_config, options.max_constructor_retry_count) == (None, 1)
    assert (options.actor.num_cpus, options.actor.num_gpus, options.actor.memory) == (1, 0, None)


def test_only_what_is_given_changes() -> None:
    """Each update starts from the options before it."""
    first = _updated(num_replicas=3, ray_actor_options={"num_cpus": 2})
    second = first.updated({"max_ongoing_requests": 9})
    assert (second.num_replicas, second.max_ongoing_requests, second.actor.num_cpus) == (3, 9, 2)
    assert first.max_ongoing_requests == 5


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 1),
        ({"num_replicas": 4}, 4),
        ({"num_replicas": None}, 1),
        ({"num_replicas": "auto"}, 1),
        ({"autoscaling_config": {}}, 1),
        ({"autoscaling_config": {"min_replicas": 2, "max_replicas": 5}}, 2),
        ({"autoscaling_config": {"min_replicas": 0, "max_replicas": 5}}, 1),
        ({"autoscaling_config": {"initial_replicas": 3, "max_replicas": 5}}, 3),
        ({"autoscaling_config": SimpleNamespace(min_replicas=2, max_replicas=2)}, 2),
        ({"num_replicas": "auto", "autoscaling_config": {"min_replicas": 2, "max_replicas": 2}}, 2),
        ({"num_replicas": None, "autoscaling_config": None}, 1),
    ],
)
def test_replicas_to_start_with(given: dict[str, Any], expected: int) -> None:
    """A number, or what autoscaling would begin with."""
    assert _updated(**given).num_replicas == expected


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"num_replicas": 0}, "num_replicas must be at least 1, got 0"),
        ({"num_replicas": -2}, "num_replicas must be at least 1, got -2"),
        ({"max_ongoing_requests": 0}, "max_ongoing_requests must be at least 1, got 0"),
        ({"max_queued_requests": 0}, "max_queued_requests must be at least 1, got 0"),
        ({"max_queued_requests": -2}, "max_queued_requests must be at least 1, got -2"),
        ({"max_constructor_retry_count": 0}, "max_constructor_retry_count must be at least 1"),
        ({"graceful_shutdown_timeout_s": -1}, "graceful_shutdown_timeout_s must not be negative"),
        ({"graceful_shutdown_wait_loop_s": -0.1}, "wait_loop_s must not be negative, got -0.1"),
        ({"graceful_shutdown_timeout_s": math.inf}, "must be finite, got inf"),
        ({"health_check_period_s": 0}, "health_check_period_s must be positive, got 0"),
        ({"health_check_timeout_s": math.nan}, "health_check_timeout_s must be finite, got nan"),
        ({"user_config": {1, 2}}, "user_config must be JSON"),
        ({"user_config": "\udcff"}, "user_config must be JSON"),
        (
            {"num_replicas": 2, "autoscaling_config": {"min_replicas": 1}},
            "give either num_replicas or autoscaling_config, not both",
        ),
        (
            {"autoscaling_config": {"min_replicas": 3, "max_replicas": 2}},
            "max_replicas 2 below min_replicas 3",
        ),
        ({"autoscaling_config": {"min_replicas": -1}}, "min_replicas of autoscaling_config"),
        ({"ray_actor_options": {"num_cpu": 1}}, "ray_actor_options has num_cpu, which meshgen"),
        ({"ray_actor_options": {"num_cpus": -1}}, "num_cpus of ray_actor_options must not be neg"),
        ({"ray_actor_options": {"num_gpus": math.nan}}, "num_gpus of ray_actor_options must be fi"),
        ({"ray_actor_options": {"memory": 0}}, "memory of ray_actor_options must be positive"),
        ({"ray_actor_options": {"memory": math.inf}}, "memory of ray_actor_options must be finite"),
        ({"ray_actor_options": {"resources": {"fast": -1}}}, "fast of ray_actor_options must not"),
        (
            {"ray_actor_options": {"runtime_env": {"conda": "x"}}},
            "runtime_env has conda, which meshgen does not know; it knows env_vars, pip, working",
        ),
        (
            {"ray_actor_options": {"runtime_env": {"pip": "no/such/file.txt"}}},
            "runtime_env names the pip file 'no/such/file.txt', which: ",
        ),
        ({"version": "1"}, "version=...) is not for a mesh: redeploying replaces"),
        ({"route_prefix": "/x"}, "pass `route_prefix` to `serve.run`"),
        ({"max_replicas_per_node": 1}, "use your orchestrator's own constraints"),
        ({"backpressure_config": {}}, "set `max_queued_requests`"),
    ],
)
def test_a_value_that_cannot_work_is_refused(given: dict[str, Any], sentence: str) -> None:
    """A MeshError and a ValueError, with option, value and what there is instead."""
    with pytest.raises(OptionError) as caught:
        _updated(**given)
    assert sentence in str(caught.value)
    assert isinstance(caught.value, MeshError) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"num_replicas": "three"}, "num_replicas must be a whole number, got 'three'"),
        ({"num_replicas": 1.5}, "num_replicas must be a whole number, got 1.5"),
        ({"num_replicas": True}, "num_replicas must be a whole number, got True"),
        ({"max_ongoing_requests": None}, "max_ongoing_requests must be a whole number, got None"),
        ({"max_queued_requests": None}, "max_queued_requests must be a whole number, got None"),
        ({"expose": 1}, "expose must be True or False, got 1"),
        ({"health_check_period_s": "10"}, "health_check_period_s must be a number, got '10'"),
        ({"graceful_shutdown_timeout_s": None}, "graceful_shutdown_timeout_s must be a number"),
        ({"autoscaling_config": 3}, "autoscaling_config must be a mapping, got 3"),
        ({"autoscaling_config": {"min_replicas": "1"}}, "min_replicas of autoscaling_config"),
        ({"ray_actor_options": "num_cpus=1"}, "ray_actor_options must be a mapping, got 'num_"),
        ({"ray_actor_options": {"num_cpus": "two"}}, "num_cpus of ray_actor_options must be a n"),
        ({"ray_actor_options": {"memory": "2GB"}}, "memory of ray_actor_options must be a number"),
        ({"ray_actor_options": {"accelerator_type": 4}}, "accelerator_type must be a string"),
        ({"ray_actor_options": {"resources": ["fast"]}}, "resources of ray_actor_options must be"),
        ({"ray_actor_options": {"runtime_env": "env"}}, "runtime_env must be a mapping, got 'env'"),
        ({"ray_actor_options": {"runtime_env": {"env_vars": "A=1"}}}, "env_vars of runtime_env mu"),
        ({"ray_actor_options": {"runtime_env": {"pip": [1]}}}, "pip of runtime_env must be a list"),
        ({"ray_actor_options": {"runtime_env": {"pip": 3}}}, "pip of runtime_env must be a list"),
        ({"ray_actor_options": {"runtime_env": {"working_dir": 3}}}, "working_dir must be a str"),
        ({"num_replica": 1}, "@serve.deployment has no option 'num_replica'"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(given: dict[str, Any], sentence: str) -> None:
    """A MeshError and a TypeError, never a bare one out of the middle of a comparison."""
    with pytest.raises(OptionTypeError) as caught:
        _updated(**given)
    assert sentence in str(caught.value)
    assert isinstance(caught.value, MeshError) and isinstance(caught.value, TypeError)


def test_actor_options_are_read_as_users_write_them() -> None:
    """Numbers may be fractions or floats; None is as good as absent; env values become text."""
    actor = _actor(
        num_cpus=0.5,
        num_gpus=None,
        memory=2e9,
        resources={"fast": 0.5},
        runtime_env={"env_vars": {"WORKERS": 4}, "working_dir": "src", "pip": None},
    )
    assert (actor.num_cpus, actor.num_gpus, actor.memory) == (0.5, 0.0, 2_000_000_000)
    assert isinstance(actor.memory, int)
    assert (actor.resources, actor.env_vars) == ({"fast": 0.5}, {"WORKERS": "4"})
    assert (actor.working_dir, actor.pip) == ("src", ())


def test_requirements_come_as_list_mapping_or_file(tmp_path: Path) -> None:
    """The three forms of Ray's `pip`; comments and empty lines of a file are left out."""
    file = tmp_path / "requirements.txt"
    file.write_text("# models\nnumpy>=2\n\n  torch  \n")
    assert _actor(runtime_env={"pip": ["numpy>=2", "torch"]}).pip == ("numpy>=2", "torch")
    assert _actor(runtime_env={"pip": {"packages": ["numpy>=2"]}}).pip == ("numpy>=2",)
    assert _actor(runtime_env={"pip": str(file)}).pip == ("numpy>=2", "torch")
