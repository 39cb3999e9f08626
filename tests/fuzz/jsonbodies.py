"""Any bytes as the JSON body of a typed method: a result in JSON, or a status.

The first byte says which method it is.
"""

from __future__ import annotations

import json

import atheris

from tests.fuzz.harness import INSTRUMENTED, PickleWatch, fuzz

with atheris.instrument_imports(include=INSTRUMENTED):
    from meshgen.runtime import jsoncall
    from tests.fuzz import mesh as fuzzed

from google.protobuf import json_format
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from meshgen.runtime.clientstatus import http_status
from tests.fuzz.asgi import Answer, Asked, application, ask
from tests.fuzz.typed import ARGUMENTS, CONVERTERS, METHODS

watch = PickleWatch()
running = fuzzed.start()
gateway = application(running)
# Found by json_format, where a status has them in its details.
_DETAILS = (error_details_pb2.BadRequest, error_details_pb2.RequestInfo)


def check(method: str, answer: Answer) -> None:
    """An answer is what OpenAPI says of it."""
    if answer.headers[b"content-type"] == b"text/event-stream":
        _check_events(method, answer)
        return
    assert answer.headers[b"content-type"] == b"application/json"
    if answer.status == 200:
        json_format.Parse(answer.body, CONVERTERS[method].response_class())
        return
    status = json_format.Parse(answer.body, Status())
    fuzzed.check_status(status, method)
    assert answer.status == http_status(status)


def _check_events(method: str, answer: Answer) -> None:
    assert answer.status == 200
    *events, last = answer.body.decode().split("\n\n")
    assert last == ""
    for event in events:
        data = json.loads(event.partition("data: ")[2])
        if event.startswith("event: error\n"):
            fuzzed.check_status(json_format.ParseDict(data, Status()), method)
        elif not event.startswith("event: end\n"):
            json_format.ParseDict(data, CONVERTERS[method].response_class())
    if answer.complete:
        assert events[-1].startswith("event: ")


def target(data: bytes) -> None:
    """One input."""
    method = METHODS[data[0] % len(METHODS)] if data else METHODS[0]
    check(method, running.run(ask(gateway, Asked(path=f"/Shop/{method}", chunks=[data[1:]]))))
    watch.check()


def seeds() -> list[bytes]:
    """A body of each method, and pickles in place of one."""
    bodies = [
        bytes([at]) + jsoncall._json(CONVERTERS[name].request(ARGUMENTS[name])).encode()
        for at, name in enumerate(METHODS)
    ]
    odd = [b"[" * 2000, b'{"x": NaN}', b'{"x": 1e999}', b'{"x": "\\ud800"}', *watch.bombs()]
    methods = [METHODS.index(name) for name in ("anything", "either")]
    return [*bodies, *(bytes([at]) + each for at in methods for each in odd)]


if __name__ == "__main__":
    fuzz("jsonbodies", target, seeds())
