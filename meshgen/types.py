"""The vocabulary: what a call is, what travels with it, and who carries it out."""

from __future__ import annotations

import itertools
import math
import os
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from meshgen.errors import OptionError, OptionTypeError

if TYPE_CHECKING:
    from meshgen.items import ItemBuffer
    from meshgen.objectref import Passed
    from meshgen.reply import Kept, Reply
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


class Token(NamedTuple):
    """Where a value is, or will be: the deployment that makes it, the address of its replica there,
    and an id that nobody can guess."""

    owner: DeploymentID
    address: str
    value_id: str


def new_value_id() -> str:
    """An id that is as good as a key: who knows it may have the value."""
    return secrets.token_hex(16)


class Abandonable(Protocol):
    """A call that its request may end with."""

    def give_up(self) -> None:
        """End it as cancelled; from any thread."""


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """What travels with a request through every hop. `deadline` is on `time.monotonic`'s clock."""

    request_id: str = ""
    route: str = ""
    app_name: str = ""
    multiplexed_model_id: str = ""
    session_id: str = ""
    deadline: float | None = None
    # Whether a deployment's code serves this request, and the calls that it has made so far and
    # that have no outcome yet. A context made from another shares them.
    is_served: bool = False
    calls: set[Abandonable] | None = None

    def shared_calls(self) -> set[Abandonable]:
        """The calls of this request."""
        if self.calls is None:
            self.calls = set()
        return self.calls

    def time_left(self) -> float | None:
        """Seconds until the deadline, never negative; None where there is no deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPolicy:
    """What may be done for a call that is lost or takes long. Running an idempotent one twice does
    no harm; after `hedge_after_s` seconds without an outcome a second replica is asked, too.

    Raises:
        OptionError: A value cannot work.
        OptionTypeError: A value has the wrong type.
    """

    idempotent: bool = False
    hedge_after_s: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.idempotent, bool):
            raise OptionTypeError(f"idempotent must be True or False, got {self.idempotent!r}")
        seconds = self.hedge_after_s
        if seconds is None:
            return
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            raise OptionTypeError(f"hedge_after_s must be seconds, got {seconds!r}")
        if not (seconds > 0 and math.isfinite(seconds)):
            raise OptionError(f"hedge_after_s must be positive, got {seconds!r}")
        if not self.idempotent:
            raise OptionError(
                "hedge_after_s may run a call twice: say idempotent=True, too, if that does no harm"
            )


@dataclass(slots=True)
class Payload:
    """A pickled value: the pickle, its out-of-band buffers, and the responses it refers to."""

    pickle: Buffer
    buffers: Sequence[Buffer] = ()
    references: Sequence[Passed] = ()

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
    # Whether the arguments are a message of a typed RPC, and so is each outcome.
    typed: bool = False


class Place(Protocol):
    """The one replica that calls must go to, once that is known."""

    @property
    def resident(self) -> str:
        """What lives there, as errors name it."""

    @property
    def reply(self) -> Reply:
        """Ends when the replica is known, or when there will be none."""

    def replica_id(self) -> str:
        """Which it is. Only once `reply` has ended with a value."""


class Store(Protocol):
    """Keeps values of this process for others."""

    def keep(self, payload: Payload) -> Kept:
        """Keep a value for as long as what this returns lives; from any thread."""


class Caller(Protocol):
    """Carries out the calls that handles of this process make."""

    def submit(
        self,
        stub: DeploymentStub,
        method: str,
        arguments: tuple[Sequence[Any], Mapping[str, Any]],
        context: RequestContext,
        reply: Reply,
        policy: CallPolicy | None = None,
    ) -> None:
        """Queue a unary call and return at once; `reply` gets the outcome.

        Without a policy that says more, it runs once at most.

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

    def borrow(self, token: Token) -> Kept:
        """A value that somebody else keeps."""

    def put(self, value: Any, reply: Reply) -> None:
        """Keep a value for others, too; `reply` ends with it.

        Raises:
            SerializationError: It cannot be pickled.
        """

    def put_later(self, make: Callable[[], Coroutine[Any, Any, Any]], reply: Reply) -> None:
        """As `put`, of what the coroutine returns; `reply` fails with what it raises."""

    async def replica_ids(self, stub: DeploymentStub) -> list[str]:
        """The replicas that take calls now, in order; waits for the first. On the mesh's loop.

        Raises:
            UnavailableError: There is none for a while.
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
