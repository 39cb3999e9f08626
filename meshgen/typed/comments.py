"""What docstrings say of classes and methods in a .proto file."""

from __future__ import annotations

import inspect


def first_paragraph(text: str | None) -> str:
    """What a docstring says first; the rest of it is about Python."""
    return inspect.cleandoc(text or "").split("\n\n")[0].strip()


def class_comment(cls: type) -> str:
    """What a class says of itself; nothing where Python made its docstring."""
    text = cls.__dict__.get("__doc__")
    # The text that dataclasses and NamedTuples without a docstring are given.
    made = str(text).startswith(f"{cls.__name__}(")
    return "" if made else first_paragraph(text)
