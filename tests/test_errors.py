"""The error tree: one root, a gRPC status each, and nothing lost on the way through a pickle."""

from __future__ import annotations

import pickle

import grpc
import pytest

from meshgen import errors
from meshgen.errors import BuildError, MeshError, NoSuchApplicationError, RemoteError
from meshgen.serve import exceptions

_TREE = [
    found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, MeshError)
]


@pytest.mark.parametrize("error", _TREE, ids=lambda cls: cls.__name__)
def test_each_error_names_a_real_grpc_status(error: type[MeshError]) -> None:
    """The status is one that a gRPC client knows, and never OK."""
    assert error.grpc_status in set(grpc.StatusCode.__members__) - {"OK"}


@pytest.mark.parametrize("error", _TREE, ids=lambda cls: cls.__name__)
def test_each_error_survives_a_pickle(error: type[MeshError]) -> None:
    """Errors travel between processes: type and text arrive as they left."""
    given: tuple[object, ...] = ("it failed",)
    if error is RemoteError:
        given = ("shop.OutOfStock", "none left", "Traceback ...")
    if error is BuildError:
        given = (["one", "two"],)
    original = error(*given)
    copy = pickle.loads(pickle.dumps(original))
    assert type(copy) is error
    assert str(copy) == str(original)
    assert vars(copy) == vars(original)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.OptionError, ValueError),
        (errors.OptionTypeError, TypeError),
        (errors.UnknownMethodError, AttributeError),
        (errors.SignatureError, TypeError),
        (errors.SerializationError, TypeError),
        (errors.GeneratorMismatchError, TypeError),
        (errors.BlockingCallError, RuntimeError),
        (errors.DeployError, RuntimeError),
        (errors.NoSuchApplicationError, KeyError),
        (errors.DeadlineError, TimeoutError),
        (errors.BackPressureError, errors.UnavailableError),
        (errors.ReplicaLostError, errors.UnavailableError),
    ],
)
def test_an_error_is_also_the_builtin_that_users_catch(
    error: type[Exception], builtin: type[Exception]
) -> None:
    """`except TypeError` written for Ray Serve or for plain Python keeps working."""
    assert issubclass(error, builtin)
    assert issubclass(error, MeshError)


def test_an_unknown_application_reads_as_a_sentence() -> None:
    """A KeyError would show its message in quotes."""
    assert str(NoSuchApplicationError("no application 'shop'")) == "no application 'shop'"


def test_a_build_error_shows_every_problem_on_its_own_line() -> None:
    """All problems of one build are listed together."""
    error = BuildError(["a: bad", "b: worse"])
    assert error.problems == ("a: bad", "b: worse")
    assert str(error).splitlines() == ["a: bad", "b: worse"]


def test_a_remote_error_shows_type_message_and_remote_traceback() -> None:
    """What cannot be rebuilt here is at least readable."""
    assert str(RemoteError("shop.Broke", "no money")) == "shop.Broke: no money"
    assert str(RemoteError("shop.Broke", "no money", "Traceback: x")).endswith("\n\nTraceback: x")


def test_ray_serves_names_lead_to_the_same_classes() -> None:
    """`meshgen.serve.exceptions` mirrors `ray.serve.exceptions`."""
    assert exceptions.RayServeException is MeshError
    assert exceptions.DeploymentUnavailableError is errors.UnavailableError
    assert issubclass(exceptions.RequestCancelledError, exceptions.RayServeException)
    assert issubclass(exceptions.BackPressureError, exceptions.RayServeException)
