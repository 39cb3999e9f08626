"""Names that differ in Python are the same in a message.

3 methods have no typed RPC, and only handles and HTTP reach what has none:
  Model.paint has no typed RPC: its parameter 'color' has 'DARK_RED' and 'darkRed', which are one
    name in Protobuf's JSON; rename one of them
  Model.price has no typed RPC: its parameter 'item' has 'unit_price' and 'unitPrice', which are one
    name in Protobuf's JSON; rename one of them
  Model.weigh has no typed RPC: it has 'max_weight' and 'maxWeight', which are one name in
    Protobuf's JSON; rename one of them
"""

import enum
from dataclasses import dataclass

from meshgen import serve


class Color(enum.Enum):
    DARK_RED = 1
    darkRed = 2


@dataclass
class Item:
    unit_price: float
    unitPrice: float


@serve.deployment
class Model:
    def paint(self, color: Color) -> None:
        pass

    def price(self, item: Item) -> float:
        return item.unit_price

    def weigh(self, max_weight: float, maxWeight: float) -> float:
        return max(max_weight, maxWeight)


app = Model.bind()
