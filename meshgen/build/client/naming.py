"""What things are called in a generated client."""

from __future__ import annotations

import keyword
import re

from meshgen.naming import MessageName, ProtoName, words
from meshgen.typed.layout import Layout
from meshgen.typed.schema import Schema
from meshgen.typed.shapes import Enumerated, RecordRef

# Attributes of every client, beside its deployments.
_TAKEN = frozenset({"close"})


class ClassNames:
    """The classes in the module of one deployment: those of its messages and enums."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        client = client_class(layout.id.name)
        self._taken = {client, f"Async{client}", *_PASCAL_BUILTINS}

    def of(self, shape: RecordRef | Enumerated) -> str:
        """A class's name: that of its message, unless something else has it."""
        name = self._layout.names.word(shape)
        return f"{name}_" if name in self._taken or keyword.iskeyword(name) else name


# Built-in names that annotations and values of a client have.
_PASCAL_BUILTINS = frozenset({"None", "True", "False"})


def identifier(name: str) -> str:
    """A name as Python can have it: that of an enum's member or of a field need be none."""
    safe = re.sub(r"\W", "_", name)
    safe = safe if safe.isidentifier() else f"_{safe}"
    return f"{safe}_" if keyword.iskeyword(safe) else safe


def package_name(app: str) -> str:
    """What one imports: `hello` → `hello_client`."""
    return "_".join([*words(app), "client"])


def distribution_name(app: str) -> str:
    """What one installs: `hello` → `hello-client`."""
    return "-".join([*words(app), "client"])


def app_class(app: str) -> str:
    """The client of an application: `hello` → `HelloClient`."""
    return f"{MessageName(app)}Client"


def client_class(deployment: str) -> str:
    """The client of a deployment: `SpanishResponder` → `SpanishResponderClient`."""
    return f"{MessageName(deployment)}Client"


def module_name(schema: Schema) -> str:
    """The module of a deployment, and its attribute of the application's client."""
    name = str(ProtoName(schema.deployment))
    return f"{name}_" if name in _TAKEN else name
