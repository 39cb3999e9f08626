"""Values to payloads and back; exceptions to failures and back."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from sys import modules
from typing import Any

import cloudpickle

import meshgen
from meshgen import raybridge
from meshgen.errors import (
    DeadlineError,
    MeshError,
    ObjectLostError,
    RemoteError,
    RemoteTraceback,
    RequestCancelledError,
    SerializationError,
    UnavailableError,
)
from meshgen.objectref import Passed, by_hand, this_thread
from meshgen.runtime.statuserror import StatusError
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb

_PACKAGE = str(Path(meshgen.__file__).parent) + os.sep
# Raised at a caller, these would end its process or its loop instead of telling it anything.
_NEVER_RERAISED = (SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration)


def encode(value: Any) -> Payload:
    """Pickle a value: C pickle first, cloudpickle only where that fails.

    Raises:
        SerializationError: Neither can.
    """
    if raybridge.REAL_RAY in modules:
        raybridge.notice()
    buffers: list[pickle.PickleBuffer] = []
    try:
        data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    except Exception:
        return _encode_carefully(value)
    # What lives in __main__ pickles by reference without an error, and is missing elsewhere.
    if b"__main__" in data or (by_hand and threading.get_ident() in by_hand):
        return _encode_carefully(value)
    return Payload(data, [bytes(buffer.raw()) for buffer in buffers]) if buffers else Payload(data)


def _encode_carefully(value: Any) -> Payload:
    """Pickle a value with notes of the responses in it."""
    by_hand.discard(threading.get_ident())
    outer = this_thread.found
    try:
        return _encode_with_notes(value, pickle.dumps)
    except _Unfit:
        return _encode_with_notes(value, cloudpickle.dumps)
    finally:
        this_thread.found = outer


class _Unfit(Exception):
    """C pickle cannot do it, or it would be missing elsewhere."""


def _encode_with_notes(value: Any, dumps: Callable[..., bytes]) -> Payload:
    buffers: list[pickle.PickleBuffer] = []
    found: dict[tuple[int, bool], Passed] = {}
    this_thread.found = found
    try:
        data = dumps(value, protocol=5, buffer_callback=buffers.append)
    except SerializationError:
        raise
    except Exception as exc:
        if dumps is pickle.dumps:
            raise _Unfit from exc
        raise SerializationError(
            f"a value of type {type(value).__name__} cannot be pickled: {exc}"
        ) from exc
    if dumps is pickle.dumps and b"__main__" in data:
        raise _Unfit
    return _payload(data, buffers, found)


def _payload(data: bytes, buffers: list[pickle.PickleBuffer], found: dict[Any, Passed]) -> Payload:
    # Copied: the value's owner may change it as soon as we return.
    copies = [bytes(buffer.raw()) for buffer in buffers]
    return Payload(data, copies, tuple(found.values()))


def encode_arguments(
    arguments: tuple[Sequence[Any], Mapping[str, Any]], *, has_responses: bool = False
) -> Payload:
    """Pickle the arguments of a call; it is quicker to know that there are responses among them.

    Raises:
        SerializationError: One of them cannot be pickled; the message names it.
    """
    try:
        return _encode_carefully(arguments) if has_responses else encode(arguments)
    except SerializationError as exc:
        reason = exc.__cause__
        if reason is None:  # what it says is all there is to say
            raise
        raise SerializationError(f"{_culprit(*arguments)} cannot be pickled: {reason}") from reason


def _culprit(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    labelled = [*enumerate(args, start=1), *((repr(name), v) for name, v in kwargs.items())]
    for label, value in labelled:
        try:
            encode(value)
        except SerializationError:
            return f"argument {label} ({type(value).__name__})"
    return "its arguments"


def decode(payload: Payload) -> Any:
    """The value of a payload. Arrays over out-of-band buffers are writable where they own them.

    Raises:
        SerializationError: It cannot be unpickled here.
    """
    outer = None
    if payload.references:
        outer, this_thread.arriving = this_thread.arriving, payload.references
    try:
        return pickle.loads(payload.pickle, buffers=payload.buffers)
    except Exception as exc:
        raise SerializationError(
            f"a value that arrived cannot be unpickled here: {type(exc).__name__}: {exc}"
        ) from exc
    finally:
        if outer is not None:
            this_thread.arriving = outer


def encode_failure(error: BaseException, origin: str) -> pb.Failure:
    """What a caller is told of an error on a replica; `origin` names that replica."""
    if isinstance(error, StatusError):
        return pb.Failure(kind=pb.FAILURE_KIND_CALL, status=error.status, origin=origin)
    return pb.Failure(
        kind=_kind(error),
        type_name=f"{type(error).__module__}.{type(error).__qualname__}",
        message=_as_utf8(_message(error)),
        traceback=_as_utf8(format_user_traceback(error)),
        pickle=_pickle_error(error),
        origin=origin,
    )


def _kind(error: BaseException) -> pb.FailureKind:
    if isinstance(error, asyncio.CancelledError):
        return pb.FAILURE_KIND_CANCELLED
    if isinstance(error, ObjectLostError):
        return pb.FAILURE_KIND_LOST
    return pb.FAILURE_KIND_CALL if isinstance(error, MeshError) else pb.FAILURE_KIND_USER


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as exc:
        return f"<its __str__ failed: {exc!r}>"


def _as_utf8(text: str) -> str:
    # A lone surrogate, as JSON may bring one, has no place in a Protobuf string.
    return text.encode("utf-8", "backslashreplace").decode()


def _pickle_error(error: BaseException) -> bytes:
    if isinstance(error, _NEVER_RERAISED):
        return b""
    try:
        payload = encode(error)
        # A failure has no place for buffers: they go into the pickle.
        return cloudpickle.dumps(error, protocol=5) if payload.buffers else bytes(payload.pickle)
    except Exception:  # user code, again
        return b""


def decode_failure(failure: pb.Failure) -> BaseException:
    """The exception that a failure is raised as at the caller.

    A user exception is of its own type, its remote traceback attached as `__cause__`; where it
    cannot be rebuilt here it is a `RemoteError`.
    """
    if failure.status:
        return StatusError(failure.status)
    if failure.kind == pb.FAILURE_KIND_CANCELLED:
        return RequestCancelledError(failure.message or "the request was cancelled")
    if failure.kind == pb.FAILURE_KIND_UNAVAILABLE:
        return UnavailableError(failure.message)
    if failure.kind == pb.FAILURE_KIND_DEADLINE:
        return DeadlineError(failure.message)
    if failure.kind == pb.FAILURE_KIND_LOST:
        return ObjectLostError(failure.message)
    error = _unpickle_error(failure.pickle)
    if error is None:
        return RemoteError(failure.type_name, failure.message, failure.traceback)
    error.__cause__ = RemoteTraceback(f"{failure.traceback}(on {failure.origin})")
    return error


def _unpickle_error(data: bytes) -> BaseException | None:
    if not data:
        return None
    try:
        error = pickle.loads(data)
    except Exception:
        return None
    if not isinstance(error, BaseException) or isinstance(error, _NEVER_RERAISED):
        return None
    return error


def format_user_traceback(error: BaseException) -> str:
    """An error's traceback without the leading frames of meshgen itself."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, frame or error.__traceback__))
    except Exception as exc:  # user code runs here: __str__, __notes__ …
        return f"{type(error).__qualname__} (its traceback cannot be shown: {exc!r})\n"
