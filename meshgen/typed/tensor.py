"""numpy arrays as `meshgen.types.v1.Tensor`.

An array that arrives is a view of the message's bytes, without a copy, and so cannot be written to.
"""

from __future__ import annotations

import math
from typing import Any

from meshgen.typed.codec import Codec
from meshgen.typed.misfit import misfit, shown, unexpected
from meshgen.typed.shapes import Array

_DTYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 "
    "complex128".split()
)


def tensor_codec(shape: Array) -> Codec:
    """The codec of arrays, of one dtype if the shape says so."""
    import numpy  # whoever has such a hint has numpy

    def check(dtype: str) -> str:
        if dtype not in _DTYPES:
            raise misfit(f"{dtype!r} is no dtype that a Tensor can have")
        if shape.dtype not in (None, dtype):
            raise misfit(f"expected an array of {shape.dtype}, got one of {dtype}")
        return dtype

    def write(value: Any, message: Any) -> None:
        if not isinstance(value, numpy.ndarray):
            raise unexpected("a numpy array", value)
        message.dtype = check(value.dtype.name)
        message.shape.extend(value.shape)
        message.data = value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()

    def read(message: Any) -> Any:
        dtype = numpy.dtype(check(message.dtype)).newbyteorder("<")
        data, dimensions = message.data, tuple(message.shape)
        if min(dimensions, default=0) < 0 or len(data) != math.prod(dimensions) * dtype.itemsize:
            raise misfit(f"{len(data)} bytes are no {dtype.name} array of shape {dimensions}")
        try:
            return numpy.frombuffer(data, dtype).reshape(dimensions)
        except ValueError as exc:  # too many dimensions, or empty and yet too large
            raise misfit(f"no array can have the shape {shown(dimensions)}: {exc}") from exc

    return Codec(
        in_message=True,
        write=write,
        read=read,
        matches=lambda value: isinstance(value, numpy.ndarray),
        exact=numpy.ndarray,
    )
