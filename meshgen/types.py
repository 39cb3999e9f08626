"""The vocabulary: what a call is, what travels with it, and who carries it out."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from meshgen.items import ItemBuffer
    from meshgen.reply import Reply
    from meshgen.stub import DeploymentStub

Buffer: TypeAlias = bytes | bytearray | memoryview

# Ids need to be unique, not secret: a random prefix for the process, then a counter.
_ID_PREFIX = os.urandom(8).hex()
_ids = itertools.count(1)


def new_id() -> str:
    """An id no other call or payload of this mesh has."""
    return f"{_ID_PREFIX}{next(_ids):08x}"


class DeploymentID(NamedTuple):
    """Which deployment of which application."""

    app: str
    name: str

    def __str__(self) -> str:
        return f"{self.app}/{self.name}"


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """What travels with a request through every hop. `deadline` is on `time.monotonic`'s clock."""

    request_id: str = ""
    route: str = ""
    app_name: str = ""
    multiplexed_model_id: str = ""
    session_id: str = ""
    deadline: float | None = None

    def time_left(self) -> float | None:
        """Seconds until the deadline, never negative; None where there is no deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


@dataclass(slots=True)
class Payload:
    """A pickled value: the pickle and its out-of-band buffers."""

    pickle: Buffer
    buffers: Sequence[Buffer] = ()

    @property
    def size(self) -> int:
        """Bytes in all."""
        if not self.buffers:
            return len(self.pickle)
        return len(self.pickle) + sum(memoryview(part).nbytes for part in self.buffers)


@dataclass(slots=True, eq=False)
class Call:
    """One call on its way: what to run, with which pickled arguments, for which request.

    Two calls are never the same one, whatever they ask for.
    """

    method: str
    arguments: Payload
    context: RequestContext
    # Whether a generator is called.
    stream: bool = False


class Caller(Protocol):
    """Carries out the calls that handles of this process make."""

    def submit(
        self,
        stub: DeploymentStub,
        method: str,
        arguments: tuple[Sequence[Any], Mapping[str, Any]],
        context: RequestContext,
        reply: Reply,
    ) -> None:
        """Queue a unary call and return at once; `reply` gets the outcome.

        Raises:
            SerializationError: An argument cannot be pickled.
        """

    def open_stream(
        self,
        stub: DeploymentStub,
        method: str,
        arguments: tuple[Sequence[Any], Mapping[str, Any]],
        context: RequestContext,
        items: ItemBuffer,
    ) -> None:
        """Start a generator call and return at once; `items` gets what it yields.

        Raises:
            SerializationError: An argument cannot be pickled.
        """

    def find(self, target: DeploymentID) -> DeploymentStub:
        """The stub of a deployment by name.

        Raises:
            NoSuchApplicationError: Nothing of that name runs in this mesh.
        """

    def ingress_of(self, app: str) -> DeploymentStub:
        """The stub of an application's ingress.

        Raises:
            NoSuchApplicationError: No application of that name runs in this mesh.
        """
