"""What is decided about a mesh, from its deployments' options alone."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from meshgen import serve
from meshgen.build.certs import Owner
from meshgen.build.plan import Plan, ServicePlan, make_plan
from meshgen.build.requirements import UserRequirements
from meshgen.build.source import source_files
from meshgen.graph import build_graph
from meshgen.serve.deployment import Application, Deployment

HERE = Path(__file__).parent
OWNER = Owner(uid=1234, gid=5678)


class Model:
    """Stands for any user class."""

    def __init__(self, *others: Any) -> None:
        self.others = others


MODEL: Deployment[..., Any] = serve.deployment(Model)


def _plan(app: Application, *requirements: str) -> Plan:
    return make_plan(
        build_graph(app, app="Word_Shop"),
        source_root=HERE,
        sources=source_files(HERE),
        user=UserRequirements(requirements),
        owner=OWNER,
    )


def _only(app: Application) -> ServicePlan:
    (service,) = _plan(app).services
    return service


def test_services_are_named_in_kebab_case_callees_first() -> None:
    """Compose sees DNS names, the gateway reaches the ingress, the ingress what it calls."""
    plan = _plan(MODEL.options(name="WordShop").bind(MODEL.options(name="spanish_words").bind()))
    assert [service.name for service in plan.services] == ["spanish-words", "word-shop"]
    assert plan.project == "word-shop"
    assert plan.services[1].depends_on == ("spanish-words",)
    assert plan.gateway.ingress == "word-shop"


def test_replicas_and_limits_can_be_overridden_by_variables() -> None:
    """The defaults come from the deployment's options."""
    options = {"num_cpus": 0.5, "memory": 256 * 1024**2}
    service = _only(MODEL.options(name="SlowOne", num_replicas=3, ray_actor_options=options).bind())
    assert [variable.reference for variable in service.variables] == [
        "${SLOW_ONE_REPLICAS:-3}",
        "${SLOW_ONE_CPUS:-0.5}",
        "${SLOW_ONE_MEMORY:-268435456b}",
    ]


def test_what_is_not_asked_for_is_not_limited() -> None:
    """No memory limit by default, and no CPU limit for num_cpus=0."""
    service = _only(MODEL.options(ray_actor_options={"num_cpus": 0}).bind())
    assert (service.cpus, service.memory, service.gpus) == (None, None, 0)


def test_a_part_of_a_gpu_reserves_one() -> None:
    """Compose knows whole devices only."""
    plan = _plan(MODEL.options(ray_actor_options={"num_gpus": 0.25}).bind(MODEL.bind()))
    assert [(service.name, service.gpus) for service in plan.gpu_services] == [("model", 1)]


def test_a_service_may_drain_before_it_is_killed() -> None:
    """The grace period is longer than the wait loop and the shutdown timeout together."""
    service = _only(
        MODEL.options(graceful_shutdown_timeout_s=7.5, graceful_shutdown_wait_loop_s=1).bind()
    )
    assert service.stop_grace_s == 9 + 5


def test_services_with_the_same_requirements_share_one_image() -> None:
    """One environment for all that ask for nothing special, one for each other set."""
    env = {"runtime_env": {"pip": ["numpy>=2"]}}
    special = MODEL.options(name="special", ray_actor_options=env)
    twin = MODEL.options(name="twin", ray_actor_options=env)
    plan = _plan(MODEL.bind(special.bind(), twin.bind(), MODEL.options(name="plain").bind()))
    used = {service.name: service.environment.name for service in plan.services}
    assert used == {
        "special": "env-special",
        "twin": "env-special",
        "plain": "base",
        "model": "base",
    }
    assert [environment.name for environment in plan.environments] == ["env-special", "base"]
    builds = [service.name for service in plan.services if service.builds]
    assert builds == ["special", "plain"]
    assert "numpy>=2" in plan.environments[0].requirements
    assert "numpy>=2" not in plan.environments[1].requirements


def test_an_image_has_this_python_and_the_runtime_as_it_is_here() -> None:
    """Pickles depend on both; what only the generator needs stays out."""
    (environment,) = _plan(MODEL.bind()).environments
    assert environment.python == ".".join(platform.python_version_tuple()[:2])
    names = [line.partition("==")[0] for line in environment.requirements]
    assert {"grpcio", "protobuf", "cloudpickle", "starlette", "uvicorn", "h11"} <= {*names}
    assert not {"grpcio-tools", "cryptography", "jinja2", "watchfiles"} & {*names}
    assert all("==" in line for line in environment.requirements)


def test_the_users_version_of_a_runtime_package_wins() -> None:
    """Our pin gives way to theirs; only the oldest version that works stays."""
    (environment,) = _plan(MODEL.bind(), "protobuf==6.32.0", "requests").environments
    lines = [line for line in environment.requirements if "protobuf" in line]
    assert lines == ["protobuf==6.32.0", "protobuf>=6.31"]


def test_a_deployments_pip_replaces_the_shared_line_of_the_same_package() -> None:
    """Two versions of one package cannot be installed."""
    env = {"runtime_env": {"pip": ["NumPy==2.1"]}}
    (environment,) = _plan(MODEL.options(ray_actor_options=env).bind(), "numpy==1.26").environments
    assert [line for line in environment.requirements if "numpy" in line.lower()] == ["NumPy==2.1"]


def test_environment_variables_and_working_folder_come_from_the_runtime_env(
    tmp_path: Path,
) -> None:
    """The folder is where it is copied to."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "words.txt").touch()
    env = {"env_vars": {"LANGUAGE": "es"}, "working_dir": "lib"}
    plan = make_plan(
        build_graph(MODEL.options(ray_actor_options={"runtime_env": env}).bind()),
        source_root=tmp_path,
        sources={**source_files(tmp_path), "test_plan.py": Path(__file__)},
        user=UserRequirements(),
        owner=OWNER,
    )
    (service,) = plan.services
    assert (service.working_dir, service.env_vars) == ("/mesh/app/lib", {"LANGUAGE": "es"})


def test_every_member_has_an_identity() -> None:
    """Each service and the gateway get a certificate."""
    plan = _plan(MODEL.bind())
    assert {identity.name: identity.uri for identity in plan.identities} == {
        "model": "meshgen://word-shop/model",
        "gateway": "meshgen://word-shop/gateway",
    }
