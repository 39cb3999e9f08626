"""Where tasks and actors run: the mesh's task service, and how it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meshgen.errors import NoSuchApplicationError, NotServingError
from meshgen.objectref import ObjectRef
from meshgen.reply import Reply
from meshgen.serve.context import current_caller, current_request
from meshgen.stub import DeploymentStub
from meshgen.types import Caller, DeploymentID, Place, RequestContext, new_id

# An application of its own; no user's has its name.
APP = "meshgen"
TASKS = DeploymentID(APP, "meshgen-tasks")


@dataclass(frozen=True, slots=True)
class TaskService:
    """The task service of a mesh, as code of one of its processes sees it."""

    caller: Caller
    stub: DeploymentStub

    def call(
        self,
        method: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        place: Place | None = None,
        apart: bool = False,
    ) -> ObjectRef[Any]:
        """Call it and return at once. A call that stands `apart` does not end with its request."""
        reply = Reply()
        stub = self.stub if place is None else self.stub.at(place)
        self.caller.submit(stub, method, (args, kwargs), _context(apart), reply)
        return ObjectRef(reply)


def _context(apart: bool) -> RequestContext:
    parent = current_request.get()
    if parent is None:
        return RequestContext(request_id=new_id(), app_name=APP)
    if apart:
        return RequestContext(request_id=parent.request_id, app_name=APP)
    if parent.multiplexed_model_id:
        return replace(parent, multiplexed_model_id="", calls=parent.shared_calls())
    return parent


def task_service() -> TaskService:
    """The task service of this process's mesh, which a program's first task starts.

    Raises:
        NotServingError: This mesh has none.
    """
    try:
        caller = current_caller()
        return TaskService(caller, caller.find(TASKS))
    except NotServingError:
        caller_of_mesh = None
    except NoSuchApplicationError:
        caller_of_mesh = caller
    # On first use: most programs that declare tasks have a service by then, and need none of this.
    from meshgen.api import start_tasks

    if not start_tasks(caller_of_mesh):
        raise NotServingError(
            "this mesh has no task service: decorate functions and classes by meshgen.remote at "
            "the top level of the application's modules, or ask for one: meshgen run --tasks, "
            "meshgen build --tasks, run_app(app, tasks=True)"
        )
    caller = current_caller()
    return TaskService(caller, caller.find(TASKS))
