"""`meshgen.get_actor`, `meshgen.kill` and `meshgen.cancel`."""

from __future__ import annotations

import asyncio
from typing import Any

from meshgen.errors import OptionError, OptionTypeError
from meshgen.objectref import ObjectRef
from meshgen.serve.response import DeploymentResponse
from meshgen.tasks.actor import ActorHandle, actor_name, call_actor
from meshgen.tasks.home import task_service
from meshgen.tasks.names import look_up
from meshgen.tasks.places import ActorPlace, Made

# How long a look-up may take, in seconds.
_PATIENCE = 30.0


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """The handle of a named actor.

    On a running event loop, which must not be blocked, an unknown name is told by the first call.

    Raises:
        NoSuchActorError: No actor of that name lives in this mesh.
        OptionError: The name is empty.
        NotServingError: This mesh has no task service.
    """
    if not name:
        raise OptionError("get_actor needs the name that options(name=...) gave")
    full = actor_name(name, namespace)
    made = look_up(task_service(), full)
    if asyncio._get_running_loop() is not None:
        return ActorHandle(None, ActorPlace("", full, made), None)
    found: Made = made.reply.wait(_PATIENCE)
    return ActorHandle(found.shape, ActorPlace(found.shape.class_name, full, made), found.actor_id)


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """End an actor at once; calls that wait or run, and later ones, raise `ActorDiedError`.

    A plain function that runs in a thread cannot be stopped: only its caller is told at once.

    Raises:
        OptionTypeError: This is no actor's handle.
        OptionError: It is to be restarted, which nothing here does.
    """
    if not isinstance(actor, ActorHandle):
        raise OptionTypeError(f"meshgen.kill ends actors, and this is none: {actor!r}")
    if not no_restart:
        raise OptionError("no_restart=False is not for a mesh: make a new actor instead")
    call_actor(actor, "kill", (), {})


def cancel(ref: Any, *, force: bool = False, recursive: bool = True) -> None:
    """Cancel the call that a reference is the result of; who waits for it is told at once.

    In async code it is a `CancelledError`, which reaches the calls that the task waits for as well.
    A plain function that has not begun never does; one that has runs on in its thread. A call that
    is over, or that another process has made, is left as it is.

    Raises:
        OptionTypeError: This is no reference.
        OptionError: It asks for what no thread can do.
    """
    if not isinstance(ref, ObjectRef | DeploymentResponse):
        raise OptionTypeError(f"meshgen.cancel takes an ObjectRef, got {ref!r}")
    if force:
        raise OptionError("force=True is not for a mesh: a function in a thread cannot be stopped")
    if not recursive:
        raise OptionError("recursive=False is not for a mesh: the calls of a call end with it")
    (ref if isinstance(ref, DeploymentResponse) else ref.reply).cancel()
