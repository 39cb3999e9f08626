"""What `meshgen.remote` makes of a function or class, as everything else sees it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any


class Declared:
    """A function or class that the task service runs, with its options."""

    def __init__(self, func_or_class: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self.func_or_class = func_or_class
        self.given = options
        # Not `__dict__`: a class's attributes are for its instances.
        for name in functools.WRAPPER_ASSIGNMENTS:
            setattr(self, name, getattr(func_or_class, name, None))

    def __reduce__(self) -> Any:
        # By name where that leads back here; in `__main__` it would lead nowhere.
        module, name = self.func_or_class.__module__, self.func_or_class.__qualname__
        if module != "__main__" and _find(module, name) is self:
            return name
        return type(self), (self.func_or_class, self.given)


def _find(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found
