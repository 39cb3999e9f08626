"""Any bytes as the body of gRPC-Web: frames with messages, and a status in the last one.

The first byte says which RPC it is, the second whether it is text, and which deadline it has.
"""

from __future__ import annotations

import base64
from urllib.parse import unquote_to_bytes

import atheris

from tests.fuzz.harness import INSTRUMENTED, PickleWatch, fuzz

with atheris.instrument_imports(include=INSTRUMENTED):
    from tests.fuzz import mesh as fuzzed

from google.rpc.status_pb2 import Status

from tests.fuzz.asgi import Answer, Asked, application, ask
from tests.fuzz.typed import ARGUMENTS, CONVERTERS, METHODS

watch = PickleWatch()
running = fuzzed.start()
gateway = application(running)
_TEXT = 1
_TIMEOUTS = (b"", b"10S", b"1n", b"99999999H", b"0m", b"x", b"-1S", "²S".encode(), b"100000000S")


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """Flags and contents; nothing is left over."""
    found = []
    while body:
        end = 5 + int.from_bytes(body[1:5], "big")
        assert len(body) >= end
        found.append((body[0], body[5:end]))
        body = body[end:]
    return found


def check(method: str, answer: Answer, *, is_text: bool, timeout: bytes) -> None:
    """The messages are responses, and the trailers have a status."""
    kind = b"application/grpc-web-text+proto" if is_text else b"application/grpc-web+proto"
    assert (answer.status, answer.headers[b"content-type"]) == (200, kind)
    pieces = map(base64.b64decode, answer.pieces) if is_text else answer.pieces
    found = frames(b"".join(pieces))
    for flag, message in found:
        if flag == 0:
            converter = CONVERTERS[method]
            converter.result(converter.response_class.FromString(message))
    if not answer.complete:
        return
    assert [flag for flag, _ in found if flag] == [0x80] == [found[-1][0]]
    trailers = dict(line.split(": ", 1) for line in found[-1][1].decode("ascii").splitlines())
    if trailers["grpc-status"] == "0":
        return
    unquote_to_bytes(trailers["grpc-message"]).decode()
    status = Status.FromString(base64.b64decode(trailers["grpc-status-details-bin"]))
    assert str(status.code) == trailers["grpc-status"]
    if not timeout:
        fuzzed.check_status(status, method)


def target(data: bytes) -> None:
    """One input."""
    first, second = data[0] if data else 0, data[1] if len(data) > 1 else 0
    method, is_text = METHODS[first % len(METHODS)], bool(second & _TEXT)
    timeout = _TIMEOUTS[(second >> 1) % len(_TIMEOUTS)]
    kind = b"application/grpc-web-text" if is_text else b"application/grpc-web+proto"
    headers = [(b"content-type", kind), (b"grpc-timeout", timeout)]
    asked = Asked(path=CONVERTERS[method].path, headers=headers, chunks=[data[2:]])
    check(method, running.run(ask(gateway, asked)), is_text=is_text, timeout=timeout)
    watch.check()


def seeds() -> list[bytes]:
    """A request of each method in both forms, and pickles in place of one."""
    bodies = [(at, CONVERTERS[name].request(ARGUMENTS[name])) for at, name in enumerate(METHODS)]
    plain = [(at, _frame(message.SerializeToString())) for at, message in bodies]
    plain += [(0, form) for bomb in watch.bombs() for form in (bomb, _frame(bomb))]
    return [
        *(bytes([at, 0]) + body for at, body in plain),
        *(bytes([at, _TEXT]) + base64.b64encode(body) for at, body in plain),
    ]


def _frame(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


if __name__ == "__main__":
    fuzz("webframes", target, seeds())
