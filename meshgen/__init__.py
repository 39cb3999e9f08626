"""meshgen: a gRPC microservice mesh generated from a composed Python application."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# What is found here under the names of Ray's core API; loaded on first use.
_LAZY = {
    "ObjectRef": "meshgen.objectref",
    "ObjectRefGenerator": "meshgen.objectrefgenerator",
    "cancel": "meshgen.tasks.control",
    "get": "meshgen.objects",
    "get_actor": "meshgen.tasks.control",
    "init": "meshgen.api",
    "is_initialized": "meshgen.api",
    "kill": "meshgen.tasks.control",
    "put": "meshgen.objects",
    "remote": "meshgen.tasks.decorator",
    "shutdown": "meshgen.api",
    "wait": "meshgen.objects",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'meshgen' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
