"""What the RPCs of a service are called."""

from __future__ import annotations

from collections.abc import Iterable

from meshgen.naming import MessageName
from meshgen.typed import generic


def rpc_names(methods: Iterable[str]) -> dict[str, str]:
    """A name for each method: `say_hello` → `SayHello`, `__call__` → `Invoke`.

    One that is taken, by a generic RPC or by another method, gets `Method` at its end. A method
    whose name has no ASCII letter gets none.
    """
    taken = {rpc.name for rpc in generic.RPCS}
    found: dict[str, str] = {}
    for method in sorted(methods, key=lambda name: (name != "__call__", name)):
        name = "Invoke" if method == "__call__" else str(MessageName(method))
        if not name or not name[0].isalpha():
            continue
        while name in taken:
            name += "Method"
        taken.add(name)
        found[method] = name
    return found
