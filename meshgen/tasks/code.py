"""Functions and classes on their way to the task service: by import path, or by value."""

from __future__ import annotations

import hashlib
import pickle
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshgen.objectref import ObjectRef
from meshgen.reply import Reply
from meshgen.spec import Target, find_target
from meshgen.tasks.declared import Declared
from meshgen.types import Caller

# Beyond this, in bytes, a pickle is kept by its sender and fetched once by each replica.
_INLINE = 32 * 1024
# How many unpickled functions a replica remembers.
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A function or class: an import path, a pickle, or a reference to one that is large."""

    name: str
    path: str | None = None
    digest: bytes = b""
    pickle: Any = None
    kept: ObjectRef[bytes] | None = None


class CodeSender:
    """Packs a function or class, once for each mesh that it goes to."""

    def __init__(self) -> None:
        self._packed: Code | None = None
        self._for: weakref.ref[Caller] | None = None

    def pack(self, declared: Declared, caller: Caller) -> Code:
        """What travels with a call.

        Raises:
            SerializationError: It can be neither imported nor pickled.
        """
        packed = self._packed
        is_for = self._for
        if packed is None or (is_for is not None and is_for() is not caller):
            packed = self._packed = self._pack(declared.func_or_class, caller)
        return packed

    def _pack(self, target: Callable[..., Any], caller: Caller) -> Code:
        name, found = target.__qualname__, find_target(target)
        if found.pickle is None:
            return Code(name=name, path=found.path)
        digest = hashlib.sha256(found.pickle).digest()
        if len(found.pickle) <= _INLINE:
            # Out of band: the codec looks for names of `__main__` in pickles, and here they may be.
            return Code(name=name, digest=digest, pickle=pickle.PickleBuffer(found.pickle))
        reply = Reply()
        caller.put(found.pickle, reply)
        self._for = weakref.ref(caller)
        return Code(name=name, digest=digest, kept=ObjectRef(reply))


class CodeShelf:
    """The functions and classes that arrived at a replica, by the hash of their pickles."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[bytes, Callable[..., Any]] = OrderedDict()

    def find(self, code: Code) -> Callable[..., Any] | None:
        """One that needs no fetching; None if its pickle has to be."""
        if code.path is not None:
            return Target(path=code.path).load()
        found = self._loaded.get(code.digest)
        if found is None and code.pickle is not None:
            found = self.load(code, code.pickle)
        return found

    def load(self, code: Code, data: bytes) -> Callable[..., Any]:
        """Unpickle one and remember it."""
        found = self._loaded[code.digest] = Target(pickle=data).load()
        while len(self._loaded) > _REMEMBERED:
            self._loaded.popitem(last=False)
        return found
