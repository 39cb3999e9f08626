"""Where code finds itself: its mesh, its replica, its request."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from meshgen.errors import NotServingError
from meshgen.serve import get_replica_context
from meshgen.serve.context import (
    ReplicaContext,
    current_caller,
    current_replica,
    current_request,
    scoped_caller,
)


def _in_a_copy(function: Callable[..., Any], *args: Any) -> Any:
    """Run in a context of its own, which ends with the call."""
    return contextvars.copy_context().run(function, *args)


def test_outside_of_a_mesh_there_is_no_caller_and_no_replica() -> None:
    """Both say what is missing."""
    with pytest.raises(NotServingError, match="no mesh runs in this process"):
        current_caller()
    with pytest.raises(NotServingError, match="inside of a deployment only"):
        get_replica_context()
    assert current_request.get() is None


def test_a_scoped_caller_counts_even_if_it_is_falsy() -> None:
    """A caller may have a length; it is there nevertheless."""

    class Empty(list[int]):
        """Any object can be one for this purpose."""

    caller: Any = Empty()

    def inside() -> object:
        scoped_caller.set(caller)
        return current_caller()

    assert _in_a_copy(inside) is caller


def test_code_in_a_replica_knows_which_one() -> None:
    """Application, deployment, replica and the object that serves."""
    context = ReplicaContext(
        app_name="shop", deployment="Cart", replica_tag="cart-1", servable_object=[]
    )

    def inside() -> ReplicaContext:
        current_replica.set(context)
        return get_replica_context()

    assert _in_a_copy(inside) is context
    assert context.replica_id == "cart-1"
