"""Any method, path, headers and chunks as HTTP at the gateway: one whole answer, whatever it is.

Half of the requests come to one that wants a token and serves pages of another origin.
"""

from __future__ import annotations

import tempfile
from base64 import b64decode
from pathlib import Path

import atheris

from tests.fuzz.harness import INSTRUMENTED, PickleWatch, fuzz

with atheris.instrument_imports(include=INSTRUMENTED):
    from tests.fuzz import mesh as fuzzed

from meshgen.runtime.protection import Protection
from meshgen.runtime.tokengate import TokenGate
from tests.fuzz.asgi import Answer, Asked, application, ask
from tests.fuzz.typed import CONVERTERS

# The request itself travels to the ingress, and its answer's head back.
watch = PickleWatch(f"meshgen.runtime.httpmessage.{name}" for name in ("_request", "_head"))
running = fuzzed.start()
_TOKEN = b"0123456789abcdef0123456789abcdef"
_ORIGIN = "https://shop.example"
_METHODS = ("POST", "GET", "PUT", "OPTIONS", "HEAD", "post", "")
_PATHS = (
    "/-/healthz",
    "/-/routes",
    "/-/openapi.json",
    "/-/docs",
    "/Shop/item",
    "/Shop/count",
    "/Shop/none",
    "/",
    CONVERTERS["item"].path,
    CONVERTERS["count"].path,
)
_OPEN = ("/-/healthz", "/-/docs")
_NAMES = (
    b"content-type",
    b"x-request-id",
    b"x-request-timeout-seconds",
    b"grpc-timeout",
    b"session_id",
    b"multiplexed_model_id",
    b"serve_multiplexed_model_id",
    b"host",
    b"authorization",
    b"origin",
    b"access-control-request-method",
    b"content-length",
)
_VALUES = (
    b"application/json",
    b"application/grpc-web",
    b"application/grpc-web-text",
    b"1",
    b"nan",
    _ORIGIN.encode(),
    b"Bearer " + _TOKEN,
    b"bearer  " + _TOKEN[1:],
)


def _protection() -> Protection:
    file = Path(tempfile.mkdtemp(prefix="meshgen-fuzz-")) / "tokens"
    file.write_bytes(_TOKEN + b"\n")
    file.chmod(0o600)
    return Protection(gate=TokenGate(file), cors_origins=(_ORIGIN,))


open_gateway, guarded_gateway = application(running), application(running, _protection())


def check_guarded(asked: Asked, answer: Answer) -> None:
    """Without the token nothing comes in but the question for health, the page that asks for the
    token, and what browsers ask by themselves."""
    has_token = dict(asked.headers).get(b"authorization", b"").endswith(_TOKEN)
    if has_token or asked.path in _OPEN or asked.method == "OPTIONS":
        return
    kind = answer.headers[b"content-type"]
    if not kind.startswith(b"application/grpc-web"):
        assert answer.status == 401
    else:
        is_text = kind.startswith(b"application/grpc-web-text")
        assert b"grpc-status: 16" in (b64decode(answer.body) if is_text else answer.body)


def asked(data: bytes) -> Asked:
    """A request that these bytes stand for."""
    given = atheris.FuzzedDataProvider(data)
    path = given.PickValueInList(list(_PATHS))
    if given.ConsumeBool():
        path += given.ConsumeUnicodeNoSurrogates(20)
    headers = []
    for _ in range(given.ConsumeIntInRange(0, 5)):
        known = given.ConsumeBool()
        value = given.PickValueInList(list(_VALUES)) if known else given.ConsumeBytes(20)
        headers.append((given.PickValueInList(list(_NAMES)), value))
    return Asked(
        path=path,
        method=given.PickValueInList(list(_METHODS)),
        headers=headers,
        query=given.ConsumeBytes(8),
        leaves=given.ConsumeIntInRange(0, 7) == 0,
        chunks=[given.ConsumeBytes(40) for _ in range(given.ConsumeIntInRange(0, 3))],
    )


def target(data: bytes) -> None:
    """One input."""
    request = asked(data[1:])
    if data and data[0] & 1:
        check_guarded(request, running.run(ask(guarded_gateway, request)))
    else:
        running.run(ask(open_gateway, request))
    watch.check()


def seeds() -> list[bytes]:
    """Bytes of every kind, and pickles among them: what they mean is the provider's."""
    return [bytes(range(start, 256)) for start in range(0, 256, 32)] + watch.bombs()


if __name__ == "__main__":
    fuzz("exchanges", target, seeds())
