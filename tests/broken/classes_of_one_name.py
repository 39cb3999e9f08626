"""Two classes are one message: no .proto tells names apart by their case only.

1 method has no typed RPC, and only handles and HTTP reach what has none:
  Model.sell has no typed RPC: its result is item, which is the same message as Item: names there do
    not differ by case or by '_'; rename one of them
"""

from dataclasses import dataclass

from meshgen import serve


@dataclass
class Item:
    name: str


@dataclass
class item:
    price: float


@serve.deployment
class Model:
    def sell(self, name: Item) -> item:
        return item(1.0)


app = Model.bind()
