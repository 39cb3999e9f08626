"""Values and exceptions there and back: by reference, by value, out of band, and not at all."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.errors import (
    BackPressureError,
    DeadlineError,
    RemoteError,
    RemoteTraceback,
    RequestCancelledError,
    SerializationError,
    UnavailableError,
)
from meshgen.objectref import ByValue, ObjectRef, Passed
from meshgen.reply import Reply
from meshgen.runtime import codec
from meshgen.runtime.frames import payload_message, read_payload
from meshgen.serve.response import DeploymentResponseGenerator
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb


def _round_trip(value: Any) -> Any:
    """Through the bytes of a message, as between two processes."""
    message = pb.Payload.FromString(payload_message(codec.encode(value)).SerializeToString())
    return codec.decode(read_payload(message))


def _raised(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as exc:
        return exc
    raise AssertionError("it raised nothing")


def _arrives(error: BaseException) -> BaseException:
    """What a caller gets of an error, through the bytes of a message."""
    failure = codec.encode_failure(error, "app/Adder#0")
    return codec.decode_failure(pb.Failure.FromString(failure.SerializeToString()))


_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(_PLAIN)
def test_plain_values_survive(value: Any) -> None:
    """Whatever Python's own types hold arrives equal."""
    assert _round_trip(value) == value


def test_a_class_inside_of_a_function_travels_by_value() -> None:
    """C pickle refuses it; the caller never notices."""

    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

    assert _round_trip(Local(3)).x == 3


def test_a_lambda_travels_with_what_it_closes_over() -> None:
    """Closures arrive whole."""
    offset = 10
    assert _round_trip(lambda x: x + offset)(5) == 15


def test_an_importable_class_is_the_same_class_over_there() -> None:
    """It travels by reference: `isinstance` keeps working."""
    assert type(_round_trip(codec.encode(1))) is Payload


_MAIN_SCRIPT = """
import sys
from meshgen.objectref import ByValue, ObjectRef, Passed
from meshgen.reply import Reply
from meshgen.runtime import codec

class Point:
    def __init__(self, x): self.x = x

def double(point): return Point(2 * point.x)

sys.stdout.buffer.write(bytes(codec.encode((Point(21), double)).pickle))
"""


def test_what_lives_in_main_is_usable_in_another_process() -> None:
    """C pickle would take it by reference without an error, and fail over there."""
    done = subprocess.run([sys.executable, "-c", _MAIN_SCRIPT], capture_output=True, check=True)
    point, double = codec.decode(Payload(done.stdout))
    assert double(point).x == 42


def test_an_array_travels_out_of_band() -> None:
    """Its bytes are not inside of the pickle."""
    payload = codec.encode(np.arange(1000))
    assert len(payload.pickle) < 1000
    assert [len(part) for part in payload.buffers] == [8000]


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_can_be_written_to_after_the_round_trip(order: Any) -> None:
    """What arrived belongs to who got it, shape and memory layout included."""
    array = np.arange(12.0).reshape(3, 4).copy(order=order)
    arrived = _round_trip(array)
    assert (arrived == array).all()
    assert arrived.flags.f_contiguous == array.flags.f_contiguous
    arrived += 1


def test_a_view_that_skips_elements_arrives() -> None:
    """Memory that is not contiguous travels in band."""
    assert (_round_trip(np.arange(10)[::3]) == [0, 3, 6, 9]).all()


def test_a_read_only_array_stays_read_only() -> None:
    """What its owner froze is frozen over there."""
    array = np.arange(3)
    array.flags.writeable = False
    assert not _round_trip(array).flags.writeable


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: (a, lambda: None)], ids=["c", "cloud"])
def test_a_later_change_of_an_argument_is_not_seen(wrap: Callable[[Any], Any]) -> None:
    """The call has the value of the moment of `.remote()`."""
    array = np.zeros(4)
    payload = codec.encode(wrap(array))
    array[:] = 7
    arrived = codec.decode(payload)
    assert not np.any(arrived[0] if isinstance(arrived, tuple) else arrived)


def test_an_unpicklable_argument_is_named() -> None:
    """The message says which one is to blame, not only that something is."""
    with pytest.raises(SerializationError, match=r"argument 2 \(lock\) cannot be pickled: "):
        codec.encode_arguments(((1, threading.Lock()), {}))
    with pytest.raises(SerializationError, match=r"argument 'guard' \(lock\) cannot be pickled"):
        codec.encode_arguments(((1,), {"guard": threading.Lock()}))


def test_an_argument_that_says_itself_why_it_cannot_travel_is_quoted() -> None:
    """Streams tell so."""
    stream: DeploymentResponseGenerator[int] = DeploymentResponseGenerator("r")
    with pytest.raises(SerializationError, match="^a DeploymentResponseGenerator cannot"):
        codec.encode_arguments((([stream],), {}))


def _refs(count: int) -> list[ObjectRef[Any]]:
    return [ObjectRef(Reply()) for _ in range(count)]


def test_responses_in_a_value_are_noted_while_it_is_pickled() -> None:
    """In the order in which they were met, each once."""
    one, other = _refs(2)
    payload = codec.encode({"a": [one, other], "b": one})
    assert payload.references == (Passed(one.reply, False), Passed(other.reply, False))


def test_responses_by_value_are_noted_as_such() -> None:
    """As a call's own arguments."""
    reply = Reply()
    payload = codec.encode_arguments(((ByValue(reply),), {}), has_responses=True)
    assert payload.references == (Passed(reply, True),)


def test_a_value_that_takes_cloudpickle_has_its_responses_noted_once() -> None:
    """The attempt that failed has left no notes."""
    one, other = _refs(2)
    payload = codec.encode([one, lambda: other, one])
    assert payload.references == (Passed(one.reply, False), Passed(other.reply, False))
    function = codec.decode(payload)[1]
    assert function() == other


def test_a_value_that_cannot_be_pickled_leaves_no_notes() -> None:
    """The next one of this thread begins anew."""
    with pytest.raises(SerializationError):
        codec.encode([*_refs(1), threading.Lock()])
    assert codec.encode("plain").references == ()
    (ref,) = _refs(1)
    assert codec.encode([ref]).references == (Passed(ref.reply, False),)


def test_pickling_by_hand_does_not_end_up_in_a_call() -> None:
    """A reference that this thread pickled itself is none of the next call's."""
    ref: ObjectRef[int] = ObjectRef(Reply())
    ref.reply.resolve(codec.encode(1), codec.decode)
    pickle.dumps(ref)
    assert codec.encode("plain").references == ()


def test_a_response_within_a_result_that_is_decoded_later_is_found() -> None:
    """Whatever else was decoded in between, and within it."""
    one, other = _refs(2)
    inner = codec.encode([other])
    outer = codec.encode([one, inner.pickle])
    codec.decode(codec.encode("in between"))
    first, data = codec.decode(outer)
    assert first == one
    assert codec.decode(Payload(data, (), inner.references)) == [other]
    assert codec.decode(outer)[0] == one


def test_an_unpicklable_result_is_named() -> None:
    """A result is one value."""
    values: tuple[Any, ...] = (threading.Lock(), (threading.Lock(), {}))
    for value in values:
        expected = f"a value of type {type(value).__name__} cannot be pickled"
        with pytest.raises(SerializationError, match=expected):
            codec.encode(value)


def test_a_value_too_deep_to_pickle_is_a_serialization_error() -> None:
    """A recursion limit is no reason to fall over."""
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(SerializationError):
        codec.encode(nested)
    while nested:  # taken apart: freeing it in one go recurses as well
        nested = nested.pop()


def test_a_value_that_cannot_be_rebuilt_here_is_a_serialization_error() -> None:
    """The message names what is missing."""
    missing = b"\x80\x04\x8c\x0cno_such_mod_\x94\x8c\x03Foo\x94\x93\x94."
    with pytest.raises(SerializationError, match="no_such_mod_"):
        codec.decode(Payload(missing))


def test_an_exception_arrives_as_its_own_type() -> None:
    """With its arguments and attributes, notes included."""
    error = KeyError("colour")
    error.add_note("asked for by the test")
    arrived = _arrives(error)
    assert type(arrived) is KeyError and arrived.args == ("colour",)
    assert arrived.__notes__ == ["asked for by the test"]


def test_the_remote_traceback_is_the_cause() -> None:
    """It is text, shows the user's line, and names the replica."""
    empty: dict[str, int] = {}
    arrived = _arrives(_raised(lambda: empty["x"]))
    assert isinstance(arrived.__cause__, RemoteTraceback)
    text = str(arrived.__cause__)
    assert '_raised(lambda: empty["x"])' in text and "KeyError: 'x'" in text
    assert "(on app/Adder#0)" in text


def test_an_exception_that_carries_an_array_arrives_as_its_own_type() -> None:
    """There is no out-of-band way for errors, and none is needed."""
    arrived = _arrives(ValueError("bad input", np.arange(3)))
    assert type(arrived) is ValueError and list(arrived.args[1]) == [0, 1, 2]


def test_an_exception_class_of_a_function_arrives() -> None:
    """It travels by value, as other values do."""

    class OddError(Exception):
        pass

    arrived = _arrives(OddError(3))
    assert type(arrived).__name__ == "OddError" and arrived.args == (3,)


def test_an_unpicklable_exception_is_a_remote_error() -> None:
    """Type name, message and traceback remain."""
    arrived = _arrives(_raised(lambda: (_ for _ in ()).throw(ValueError(threading.Lock()))))
    assert isinstance(arrived, RemoteError)
    assert arrived.type_name == "builtins.ValueError"
    assert "unlocked _thread.lock" in arrived.message
    assert "Traceback" in arrived.traceback


class NeedsTwoError(Exception):
    """Pickles without complaint and cannot be unpickled."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")


def test_an_exception_that_cannot_be_rebuilt_is_a_remote_error() -> None:
    """Its constructor needs more than it keeps, a classic."""
    arrived = _arrives(NeedsTwoError(7, "seven"))
    assert isinstance(arrived, RemoteError)
    assert arrived.type_name == f"{__name__}.NeedsTwoError"
    assert arrived.message == "7: seven"


def test_an_exception_of_a_module_that_is_missing_here_is_a_remote_error() -> None:
    """Services have requirements of their own."""
    failure = codec.encode_failure(ValueError("x"), "app/A#0")
    failure.pickle = failure.pickle.replace(b"\x8c\x08builtins", b"\x8c\x08notthere")
    failure.type_name = "notthere.ValueError"
    arrived = codec.decode_failure(failure)
    assert isinstance(arrived, RemoteError)
    assert str(arrived).startswith("notthere.ValueError: x\n")


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(1), StopAsyncIteration()],
    ids=lambda error: type(error).__name__,
)
def test_what_would_end_the_caller_is_never_raised_there(error: BaseException) -> None:
    """It is told as a remote error."""
    arrived = _arrives(error)
    assert isinstance(arrived, RemoteError)
    assert arrived.type_name == f"builtins.{type(error).__name__}"


def test_a_pickled_exception_that_would_end_the_caller_is_refused_there_too() -> None:
    """A peer is not trusted to have looked."""
    failure = pb.Failure(type_name="builtins.SystemExit", pickle=pickle.dumps(SystemExit(3)))
    assert isinstance(codec.decode_failure(failure), RemoteError)


class Broken(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise ZeroDivisionError("no text")

    __repr__ = __str__


def test_an_exception_whose_text_fails_still_arrives() -> None:
    """User code runs while an error is told, and may fail."""
    failure = codec.encode_failure(Broken(), "app/A#0")
    assert "__str__ failed" in failure.message
    assert "Broken" in failure.traceback
    assert type(codec.decode_failure(failure)) is Broken


@pytest.mark.parametrize("text", ["caf\udce9.txt", "\ud800"])
def test_text_that_is_not_unicode_does_not_keep_an_error_from_arriving(text: str) -> None:
    """Undecodable file names end up in messages; Protobuf's strings are strict."""
    arrived = _arrives(FileNotFoundError(text))
    assert type(arrived) is FileNotFoundError and arrived.args == (text,)
    assert "FileNotFoundError" in str(arrived.__cause__)


def test_a_cancelled_call_is_a_cancelled_request_at_the_caller() -> None:
    """An `asyncio.CancelledError` there would look like the caller's own task's."""
    assert isinstance(_arrives(asyncio.CancelledError()), RequestCancelledError)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pb.FAILURE_KIND_UNAVAILABLE, UnavailableError),
        (pb.FAILURE_KIND_DEADLINE, DeadlineError),
        (pb.FAILURE_KIND_CANCELLED, RequestCancelledError),
    ],
)
def test_failures_of_the_mesh_are_errors_of_the_mesh(
    kind: pb.FailureKind, expected: type[Exception]
) -> None:
    """Their kind says which."""
    arrived = codec.decode_failure(pb.Failure(kind=kind, message="why"))
    assert type(arrived) is expected and str(arrived) == "why"


def test_an_error_of_the_mesh_inside_of_user_code_keeps_its_type() -> None:
    """A service that could not reach another says so to its own caller."""
    error = BackPressureError("app/B already has 3 calls")
    assert codec.encode_failure(error, "app/A#0").kind == pb.FAILURE_KIND_CALL
    assert type(_arrives(error)) is BackPressureError


def test_the_causes_of_an_error_are_in_its_traceback() -> None:
    """Pickling drops them; the text does not."""

    def fail() -> None:
        try:
            raise KeyError("inner")
        except KeyError as exc:
            raise ValueError("outer") from exc

    assert "KeyError: 'inner'" in str(_arrives(_raised(fail)).__cause__)


def test_a_traceback_begins_with_the_users_code() -> None:
    """The frames of meshgen that led there are left out."""
    error = _raised(lambda: codec.decode(Payload(pickle.dumps(_Bomb()))))
    whole = error.__cause__
    assert whole is not None and whole.__traceback__ is not None
    assert whole.__traceback__.tb_frame.f_code.co_filename == codec.__file__
    text = codec.format_user_traceback(whole)
    assert "in _explode" in text and codec.__file__ not in text


class _Bomb:
    def __reduce__(self) -> Any:
        return _explode, ()


def _explode() -> None:
    """What the user's class does when it is rebuilt."""
    raise ValueError("boom")


def test_code_beside_the_package_is_the_users() -> None:
    """A folder whose name begins with that of the package is another folder."""
    package = Path(codec.__file__).parent.parent
    user_file = f"{package}-app/app.py"
    scope: dict[str, Any] = {"loads": json.loads}
    exec(compile("def fail(): loads('{')", user_file, "exec"), scope)
    error = _raised(scope["fail"])
    # As where meshgen calls it: without the frames of this test.
    assert error.__traceback__ is not None
    error = error.with_traceback(error.__traceback__.tb_next)
    assert user_file in codec.format_user_traceback(error)
