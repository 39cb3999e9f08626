"""Who may call at the published ports of `meshgen run`: tokens, TLS, CORS."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc
import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshgen import serve
from meshgen.deploy.local import LocalMesh
from meshgen.errors import OptionError, OptionTypeError
from meshgen.serve.config import EdgeOptions, GRPCOptions, HTTPOptions
from meshgen.tokenfile import read_tokens
from tests.apps import typedshop
from tests.deploy.edges import APP, RUN, SERVICE, Edge, bearer, double, running
from tests.deploy.meshes import deploy
from tests.programs import start
from tests.tlscerts import Certificates, for_localhost

# Counts as more than loopback, and is not more.
WIDER = "::ffff:127.0.0.1"
ONE, TWO = "one-secret-token", "two-secret-tokens"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one token."""
    path = tmp_path_factory.mktemp("tokens") / "tokens"
    _write(path, ONE)
    path.chmod(0o600)
    return path


def _write(path: Path, token: str) -> None:
    path.write_text(f"{token}\n")


@pytest.fixture(scope="module")
def guarded(tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A mesh whose requests need a token, for pages of one origin too."""
    origin = ("--cors-origin", "https://shop.example")
    with running(tmp_path_factory.mktemp("app"), "--auth-token-file", tokens, *origin) as edge:
        yield edge


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("POST", "/Shop/double"), ("POST", "/Shop/flood"), ("GET", "/-/routes")]
    + [("GET", "/-/openapi.json"), ("GET", "/nowhere"), ("OPTIONS", "/")],
)
@pytest.mark.parametrize("token", [None, "wrong", ONE[:-1], f"{ONE} x"])
def test_http_without_a_token_is_refused(
    guarded: Edge, method: str, path: str, token: str | None
) -> None:
    """As JSON, events, the ingress's own, or the gateway's."""
    answer = guarded.request(method, path, token)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.text == "this needs a token: send `authorization: Bearer TOKEN`"


def test_http_with_a_token_is_answered(guarded: Edge) -> None:
    """The ingress does not get to see the token."""
    assert guarded.request("POST", "/Shop/double", ONE, json={"x": 4}).json() == {"result": "8"}
    headers = guarded.get(token=ONE, headers={"x-mine": "1"}).json()
    assert headers["x-mine"] == "1" and "authorization" not in headers


def test_health_is_everybodys(guarded: Edge) -> None:
    """Who probes has no token."""
    assert guarded.get("/-/healthz").text == "success"


def test_the_page_to_try_methods_asks_for_the_token_itself(guarded: Edge) -> None:
    """No browser would send one; it tells nothing of the mesh."""
    page = guarded.get("/-/docs")
    assert page.status_code == 200
    assert "This needs a token" in page.text and "Shop" not in page.text
    described = guarded.get("/-/openapi.json", token=ONE).json()
    assert described["components"]["securitySchemes"] == {
        "token": {"type": "http", "scheme": "bearer"}
    }


def test_grpc_web_without_a_token_is_refused_as_its_clients_understand(guarded: Edge) -> None:
    """By a status in the trailers."""
    frame = b"\0" + (2).to_bytes(4, "big") + b"\x08\x04"
    kind = {"content-type": "application/grpc-web+proto"}
    path = f"/{SERVICE}/Double"
    refused = guarded.request("POST", path, None, content=frame, headers=kind)
    assert refused.status_code == 200 and b"grpc-status: 16\r\n" in refused.content
    answered = guarded.request("POST", path, ONE, content=frame, headers=kind)
    assert b"grpc-status: 0\r\n" in answered.content


async def test_rpcs_without_a_token_are_refused(guarded: Edge) -> None:
    """Typed ones, reflection, and what is not there; health is everybody's."""
    paths = [f"/{SERVICE}/Double", f"/{SERVICE}/Flood", "/x.Y/Z"]
    paths += [f"/grpc.reflection.{v}.ServerReflection/ServerReflectionInfo" for v in ("v1",)]
    async with grpc.aio.insecure_channel(guarded.grpc) as channel:
        for path in paths:
            for given in ((), (("authorization", "Bearer wrong"),), (("authorization", ONE),)):
                call = channel.unary_unary(path)(b"\x08\x04", metadata=given, timeout=20)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
                assert ONE not in str(caught.value.details())
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=20)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert await double(channel, ONE) == b"\x08\x08"


async def test_tokens_change_while_it_runs(guarded: Edge, tokens: Path) -> None:
    """A new one works at once; the old one does not any more, on an open connection either."""
    async with grpc.aio.insecure_channel(guarded.grpc) as channel:
        assert await double(channel, ONE) == b"\x08\x08"
        _write(tokens, TWO)
        try:
            assert await double(channel, TWO) == b"\x08\x08"
            assert guarded.get(token=TWO).status_code == 200
            assert guarded.get(token=ONE).status_code == 401
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await double(channel, ONE)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        finally:
            _write(tokens, ONE)
    assert guarded.get(token=ONE).status_code == 200


def test_pages_of_the_origin_may_call_and_others_may_not(guarded: Edge) -> None:
    """Browsers ask first, without a token; what they get says what pages may read."""
    asks = {"access-control-request-method": "POST"}
    asks["access-control-request-headers"] = "authorization,x-grpc-web"
    ours, theirs = {"origin": "https://shop.example"}, {"origin": "https://evil.example"}
    allowed = guarded.request("OPTIONS", "/Shop/double", None, headers=asks | ours)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ours["origin"]
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    assert guarded.request("OPTIONS", "/", None, headers=asks | theirs).status_code == 400
    answer = guarded.request("POST", "/Shop/double", ONE, json={"x": 1}, headers=ours)
    exposed = answer.headers["access-control-expose-headers"].replace(",", " ").split()
    assert {"grpc-status", "grpc-message", "x-request-id"} <= set(exposed)
    refused = guarded.request("POST", "/Shop/double", ONE, json={"x": 1}, headers=theirs)
    assert "access-control-allow-origin" not in refused.headers


def test_no_token_was_ever_printed(guarded: Edge) -> None:
    """Not by the access log either; the last test of this mesh."""
    guarded.get("/over", ONE)
    guarded.program.until('"GET /over" ')
    assert ONE not in guarded.program.output and TWO not in guarded.program.output


def test_beyond_loopback_a_token_is_made(tmp_path: Path) -> None:
    """The example that is printed works, and without the token nothing does."""
    with running(tmp_path, "--host", WIDER) as edge:
        found = re.search(r'"authorization: Bearer \$\((.*)\)" (\S+)', edge.program.output)
        assert found is not None
        path = Path(found[1].split()[-4])
        assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o077 == 0
        token = path.read_text().strip()
        assert token not in edge.program.output
        assert found[2] == edge.http
        assert edge.get(token=token).status_code == 200
        assert edge.get().status_code == 401


def test_it_can_be_left_open_on_purpose(tmp_path: Path) -> None:
    """And then the ingress sees the header of that name, as it always did on loopback."""
    with running(tmp_path, "--host", WIDER, "--no-auth") as edge:
        assert edge.get(token="mine").json()["authorization"] == "Bearer mine"


def _authorities(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates.ca))


async def test_both_ports_have_the_users_certificate(tmp_path: Path) -> None:
    """And no plain text beside it. Clients that know its authority are content."""
    certificates = for_localhost(tmp_path / "certs")
    tls = ("--tls-cert", certificates.cert, "--tls-key", certificates.key)
    with running(tmp_path, *tls) as edge:
        address = edge.http.replace("127.0.0.1", "localhost")
        assert address.startswith("https://localhost:")
        async with httpx.AsyncClient(verify=_authorities(certificates), trust_env=False) as web:
            assert (await web.get(address, timeout=20)).status_code == 200
            with pytest.raises(httpx.TransportError):
                await web.get(address.replace("https", "http"), timeout=20)
        credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
        target = f"localhost:{edge.port}"
        async with grpc.aio.secure_channel(target, credentials) as channel:
            assert await double(channel) == b"\x08\x08"
        async with grpc.aio.insecure_channel(target) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await double(channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--auth-token-file", "nowhere"], "the token file nowhere cannot be read"),
        (["--auth-token-file", "app.py"], "everybody can read the token file app.py"),
        (["--auth-token-file", "x", "--no-auth"], "choose one"),
        (["--tls-cert", "app.py"], "private key (--tls-key) is missing"),
        (["--tls-key", "app.py"], "certificate (--tls-cert) is missing"),
        (["--tls-cert", "app.py", "--tls-key", "app.py"], "app.py and app.py cannot be served"),
        (["--cors-origin", "shop.example/x"], "'shop.example/x' is no origin"),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_starts(
    tmp_path: Path, options: list[str], sentence: str
) -> None:
    """In one line, as a mistake that the user can mend."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "app.py").chmod(0o644)
    code = RUN.format(environment={}, options=options)
    with start("-c", code, cwd=tmp_path) as program:
        assert program.wait() == 2
        [line] = program.output.splitlines()
        assert line.startswith("error: ") and sentence in line


async def test_a_program_asks_for_tokens_by_an_option() -> None:
    """One is made, in the folder that goes with the mesh."""
    edge = EdgeOptions(auth=True)
    mesh = LocalMesh(HTTPOptions(port=0), lambda *_: None, GRPCOptions(port=0), edge)
    try:
        await deploy(mesh, typedshop.app, prefix="/")
        assert mesh.token_file is not None and mesh.token_file.parent == mesh.folder.path
        (token,) = read_tokens(mesh.token_file)
        url = f"{mesh.http_address}/Shop/plain"
        async with httpx.AsyncClient(trust_env=False, timeout=20) as web:
            assert (await web.post(url, json={"x": 1})).status_code == 401
            answer = await web.post(url, json={"x": 1}, headers=bearer(token.decode()))
            assert answer.json() == {"result": "2"}
    finally:
        await mesh.close(at_once=True)
    assert not mesh.token_file.exists()


def test_a_program_learns_at_its_start_what_cannot_be_served() -> None:
    """And nothing was started."""
    with pytest.raises(OptionError, match="the token file nowhere cannot be read"):
        serve.start({"port": 0}, edge_options={"auth_token_file": "nowhere"})
    with pytest.raises(OptionTypeError, match="edge_options: .*tokens"):
        serve.start({"port": 0}, edge_options={"tokens": "nowhere"})
    assert serve.status().applications == {}
