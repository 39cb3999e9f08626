"""The files that a plan becomes, read back as those who read them would."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshgen import serve
from meshgen.build.certs import Owner
from meshgen.build.descriptors import compile_descriptors
from meshgen.build.plan import Plan, make_plan
from meshgen.build.render import Renderer, dockerfile
from meshgen.build.requirements import UserRequirements
from meshgen.build.source import source_files
from meshgen.errors import MeshError
from meshgen.graph import build_graph
from meshgen.serve.deployment import Deployment
from meshgen.settings import Settings

HERE = Path(__file__).parent
AWKWARD = {"PRICE": "$5 \"quoted\" 'single'", "LINES": "a\nb: c # no comment", "EMOJI": "🐙 é"}


class Model:
    """Stands for any user class."""

    def __init__(self, *others: Any) -> None:
        self.others = others


MODEL: Deployment[..., Any] = serve.deployment(Model)


@pytest.fixture
def plan() -> Plan:
    """Two services, one with everything that options can ask for."""
    actor = {"num_gpus": 2, "memory": 10**8, "runtime_env": {"env_vars": AWKWARD}}
    inner = MODEL.options(name="SpanishWords", num_replicas=2, ray_actor_options=actor)
    return make_plan(
        build_graph(MODEL.options(name="Front").bind(inner.bind()), app="shop"),
        source_root=HERE,
        sources=source_files(HERE),
        user=UserRequirements(),
        owner=Owner(uid=1234, gid=5678),
    )


@pytest.fixture
def files(plan: Plan) -> dict[str, str]:
    """Everything that is rendered for the plan."""
    return Renderer(plan=plan, build_id="abc123", mermaid="flowchart LR").files()


@pytest.fixture
def compose(files: Mapping[str, str]) -> Any:
    """compose.yaml as a YAML reader sees it, nothing substituted."""
    return yaml.safe_load(files["compose.yaml"])


def test_there_is_one_service_for_each_deployment_and_a_gateway(compose: Any) -> None:
    """The project is called after the application; no obsolete version, no fixed names."""
    assert compose["name"] == "shop"
    assert [*compose["services"]] == ["spanish-words", "front", "gateway"]
    assert "version" not in compose
    assert not any("container_name" in service for service in compose["services"].values())


def test_services_are_locked_down(compose: Any) -> None:
    """Every one of them, the gateway included."""
    for service in compose["services"].values():
        assert service["user"] == "${MESHGEN_UID:-1234}:${MESHGEN_GID:-5678}"
        assert service["read_only"] and service["init"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["tmpfs"] == ["/tmp"]


def test_a_replica_that_ends_is_started_again(compose: Any) -> None:
    """One that is unhealthy ends by itself, as no engine restarts a container for its probes.

    Also after a SIGHUP, which Docker takes for the end of any other policy and without the signal.
    """
    for service in compose["services"].values():
        assert (service["restart"], service["stop_signal"]) == ("always", "SIGTERM")


def test_only_the_gateway_is_published_and_by_default_to_this_machine(compose: Any) -> None:
    """Pickles are not for outsiders, and a port per service would break scaling."""
    published = {
        name: service["ports"]
        for name, service in compose["services"].items()
        if "ports" in service
    }
    assert published == {
        "gateway": [
            "${BIND:-127.0.0.1}:${HTTP_PORT:-8000}:8000",
            "${BIND:-127.0.0.1}:${GRPC_PORT:-9000}:9000",
        ]
    }


def test_callees_are_healthy_before_their_callers_start(compose: Any) -> None:
    """The gateway waits for the ingress."""
    healthy = {"condition": "service_healthy"}
    services = compose["services"]
    assert services["front"]["depends_on"] == {"spanish-words": healthy}
    assert services["gateway"]["depends_on"] == {"front": healthy}
    assert "depends_on" not in services["spanish-words"]


def test_one_service_builds_the_image_that_all_use(compose: Any) -> None:
    """The others never look for it in a registry."""
    services = compose["services"].values()
    assert {service["image"] for service in services} == {"shop-base:abc123"}
    assert len([service for service in services if "build" in service]) == 1
    assert {service["pull_policy"] for service in services} == {"never"}


def test_a_service_gets_its_own_key_and_no_other(compose: Any) -> None:
    """One folder holds the authority's certificate, the service's, and its key."""
    for name, service in compose["services"].items():
        assert {secret["target"]: secret["source"] for secret in service["secrets"]} == {
            "ca.pem": "mesh-ca",
            "cert.pem": f"{name}-cert",
            "key.pem": f"{name}-key",
        } | ({"tokens": "gateway-tokens"} if name == "gateway" else {})
        assert compose["secrets"][f"{name}-key"] == {"file": f"./certs/{name}/key.pem"}
    assert "ca.key" not in str(compose)


def test_processes_read_their_place_from_the_environment(compose: Any) -> None:
    """The very variables that the runtime reads."""
    service = Settings.from_environment(compose["services"]["front"]["environment"])
    assert service == Settings(
        mesh_file=Path("/mesh/mesh.json"),
        resolver="dns:{service}:50051",
        service_dir=Path("/mesh/services/front"),
        listen="0.0.0.0:50051",
        health="127.0.0.1:50052",
        metrics="0.0.0.0:9464",
        certs=Path("/run/secrets"),
    )
    gateway = Settings.from_environment(compose["services"]["gateway"]["environment"])
    assert (gateway.http_host, gateway.http_port) == ("0.0.0.0", 8000)
    assert (gateway.grpc_host, gateway.grpc_port) == ("0.0.0.0", 9000)
    assert gateway.service_dir is None


def test_the_users_variables_arrive_as_they_were_written(compose: Any) -> None:
    """Quotes, lines, emoji; `$` doubled, as Compose substitutes otherwise."""
    given = compose["services"]["spanish-words"]["environment"]
    assert {name: given[name].replace("$$", "$") for name in AWKWARD} == AWKWARD


def test_every_variable_is_in_the_example_with_its_default(files: Mapping[str, str]) -> None:
    """.env.example is complete, and says the same as compose.yaml."""
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", files["compose.yaml"]))
    lines = files[".env.example"].splitlines()
    listed = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    assert used == listed
    assert used["SPANISH_WORDS_REPLICAS"] == "2"


def test_gpus_are_reserved_in_a_file_of_their_own(plan: Plan, files: Mapping[str, str]) -> None:
    """A machine without them can still bring the mesh up."""
    document = yaml.safe_load(files["compose.gpu.yaml"])
    (device,) = document["services"]["spanish-words"]["deploy"]["resources"]["reservations"][
        "devices"
    ]
    assert device == {"driver": "nvidia", "count": 2, "capabilities": ["gpu"]}
    assert "nvidia" not in files["compose.yaml"]


def test_keys_stay_out_of_images_and_repositories(files: Mapping[str, str]) -> None:
    """The build context has no certs/, and git does not see it."""
    assert "/certs/" in files[".gitignore"].splitlines()
    kept = [line for line in files[".dockerignore"].splitlines() if line.startswith("!")]
    assert "*" in files[".dockerignore"].splitlines() and "!certs" not in kept


def test_a_dockerfile_needs_nothing_but_the_base_image(plan: Plan) -> None:
    """No frontend is pulled, the code comes last, and no process is root."""
    lines = dockerfile(plan.environments[0]).splitlines()
    assert not any(line.startswith("# syntax") for line in lines)
    assert {line.split()[1] for line in lines if line.startswith("FROM")} == {"${PYTHON_IMAGE}"}
    steps = [line for line in lines if line.startswith(("COPY", "RUN", "FROM"))]
    order = ["requirements.txt", "vendor/", "--from=requirements", "--from=meshgen", "COPY app"]
    found = [next(i for i, step in enumerate(steps) if part in step) for part in order]
    assert found == sorted(found)
    assert lines[-1] == "USER 10001:10001"


def test_a_proto_that_does_not_compile_is_an_error_with_protocs_words() -> None:
    """A bug of ours shows at the build, not at its reader."""
    with pytest.raises(MeshError, match=r"protoc refused .*bad.proto"):
        compile_descriptors({"bad.proto": b"syntax = nonsense"})
