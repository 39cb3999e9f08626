"""Arrays of numbers, with or without numpy."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tensor:
    """An array as it travels: numpy's name of its dtype, its shape, and its little-endian bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def from_numpy(cls, array: Any) -> Tensor:
        """Take over a numpy array."""
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        return cls(array.dtype.name, tuple(map(int, array.shape)), data)

    def to_numpy(self) -> Any:
        """As a numpy array that shares the bytes, and so cannot be written to."""
        numpy = importlib.import_module("numpy")
        dtype = numpy.dtype(self.dtype).newbyteorder("<")
        return numpy.frombuffer(self.data, dtype).reshape(self.shape)
