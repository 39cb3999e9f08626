"""Which hints are those of numpy arrays."""

from __future__ import annotations

import sys
import typing
from typing import Any


def array_dtype(hint: Any) -> str | None:
    """The dtype that an array's hint asks for, "" if any will do; None for other hints."""
    # Not imported here: who has no numpy has no such hint.
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if hint is numpy.ndarray:
        return ""
    if typing.get_origin(hint) is not numpy.ndarray:
        return None
    scalar = [*typing.get_args(typing.get_args(hint)[-1]), None][0]
    # Abstract ones, such as np.floating, stand for several dtypes.
    concrete = isinstance(scalar, type) and not scalar.__subclasses__()
    return str(numpy.dtype(scalar).name) if concrete else ""
