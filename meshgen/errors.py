"""Every error that meshgen raises: one tree, each with the gRPC status it becomes on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class MeshError(Exception):
    """Anything meshgen raises. `grpc_status` names the status code a gRPC client would see."""

    grpc_status: ClassVar[str] = "INTERNAL"


class OptionError(MeshError, ValueError):
    """An option of a deployment, handle or application has a value that cannot work."""

    grpc_status = "INVALID_ARGUMENT"


class OptionTypeError(MeshError, TypeError):
    """An option has a value of the wrong type."""

    grpc_status = "INVALID_ARGUMENT"


class TargetError(MeshError):
    """`module:attribute` does not lead to an application."""

    grpc_status = "INVALID_ARGUMENT"


class BuildError(MeshError, ValueError):
    """A graph cannot become a mesh. `problems` lists every reason found, one sentence each."""

    grpc_status = "INVALID_ARGUMENT"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[BuildError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class BreakingChangeError(BuildError):
    """What clients of the last build rely on would be gone; `problems` lists every such change."""

    grpc_status = "FAILED_PRECONDITION"


class DeployError(MeshError, RuntimeError):
    """An application did not start; the message carries the user's own traceback."""

    grpc_status = "FAILED_PRECONDITION"


class NoSuchApplicationError(MeshError, KeyError):
    """No application or deployment of that name runs in this mesh."""

    grpc_status = "NOT_FOUND"

    def __str__(self) -> str:
        return str(self.args[0])


class NotServingError(MeshError, RuntimeError):
    """There is no running mesh in this process to talk to."""

    grpc_status = "FAILED_PRECONDITION"


class UnknownMethodError(MeshError, AttributeError):
    """The deployment has no such method."""

    grpc_status = "UNIMPLEMENTED"


class SignatureError(MeshError, TypeError):
    """The arguments do not fit the method's signature."""

    grpc_status = "INVALID_ARGUMENT"


class SerializationError(MeshError, TypeError):
    """An argument or a result cannot be pickled."""

    grpc_status = "INVALID_ARGUMENT"


class GeneratorMismatchError(MeshError, TypeError):
    """A generator was called without `stream=True`, or `stream=True` was used on something else."""

    grpc_status = "INVALID_ARGUMENT"


class BlockingCallError(MeshError, RuntimeError):
    """A blocking wait was asked for on a running event loop."""

    grpc_status = "FAILED_PRECONDITION"


class UnavailableError(MeshError):
    """No replica could be reached; the call was not started."""

    grpc_status = "UNAVAILABLE"


class ReplicaLostError(UnavailableError):
    """The replica went away while the call was there; it may have run in part or in full."""


class ActorDiedError(ReplicaLostError):
    """The actor was killed, or the process that it lived in is gone."""


class NoSuchActorError(MeshError, ValueError):
    """No actor of that name lives in this mesh."""

    grpc_status = "NOT_FOUND"


class ObjectLostError(MeshError):
    """A value that was passed on cannot be had any more, or never was there."""

    grpc_status = "DATA_LOSS"


class BackPressureError(UnavailableError):
    """More calls are waiting than the deployment allows."""

    grpc_status = "RESOURCE_EXHAUSTED"


class PermissionDeniedError(MeshError):
    """No edge of the mesh leads from this caller to the deployment; the call was not started."""

    grpc_status = "PERMISSION_DENIED"


class RequestCancelledError(MeshError):
    """The call was cancelled before it had a result."""

    grpc_status = "CANCELLED"


class DeadlineError(MeshError, TimeoutError):
    """No result came in time."""

    grpc_status = "DEADLINE_EXCEEDED"


class ProtocolError(MeshError):
    """A peer sent what the protocol does not allow, or speaks another version of it."""

    grpc_status = "FAILED_PRECONDITION"


class RemoteError(MeshError):
    """User code raised an exception that cannot be rebuilt here.

    `type_name` is the exception's import path, `traceback` its remote traceback as text.
    """

    grpc_status = "UNKNOWN"

    def __init__(self, type_name: str, message: str, traceback: str = "") -> None:
        super().__init__(type_name, message, traceback)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        text = f"{self.type_name}: {self.message}"
        return f"{text}\n\n{self.traceback}" if self.traceback else text


class RemoteTraceback(Exception):
    """The `__cause__` of a user exception that came over the wire: its traceback over there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


class InvalidValueError(MeshError, ValueError):
    """A value does not fit the hint that a typed method has for it.

    `violations` has a pair of field path and reason for each place where it does not.
    """

    grpc_status = "INVALID_ARGUMENT"

    def __init__(self, what: str, violations: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(what, tuple(violations))
        self.violations = tuple(violations)

    def __str__(self) -> str:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in self.violations)
        return f"{self.args[0]}: {reasons}" if reasons else str(self.args[0])


class InvalidResultError(MeshError, TypeError):
    """A typed method returned or yielded what does not fit its own hint; its callers did nothing
    wrong. `violations` is as that of `InvalidValueError`.
    """

    def __init__(self, what: str, violations: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(what, tuple(violations))
        self.violations = tuple(violations)

    def __str__(self) -> str:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in self.violations)
        return f"{self.args[0]}: {reasons}" if reasons else str(self.args[0])
