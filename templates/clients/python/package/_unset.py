"""What stands for a value that is left out, so that the service's own default is used."""

from __future__ import annotations

import enum
from typing import Final


class Unset(enum.Enum):
    """Has one member."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return self.name

    def __bool__(self) -> bool:
        return False


UNSET: Final = Unset.UNSET
