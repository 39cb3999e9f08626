"""Hints that no message has a place for. Nothing is wrong with that: handles pass them on.

7 methods have no typed RPC, and only handles and HTTP reach what has none:
  Model.__call__ has no typed RPC: its parameter 'request' is Starlette's Request, which only HTTP
    has
  Model.apply has no typed RPC: its parameter 'function' is Callable, which has no mapping to
    Protobuf; give it one with meshgen.typed.register(), or use another type
  Model.count has no typed RPC: its result is said to be no iterator, but it has a `yield`; annotate
    it `-> Iterator[...]`
  Model.draw has no typed RPC: its parameter 'image' is Image, which has no mapping to Protobuf;
    give it one with meshgen.typed.register(), or use another type
  Model.draw has no typed RPC: its result is Image, which has no mapping to Protobuf; give it one
    with meshgen.typed.register(), or use another type
  Model.embed has no typed RPC: it takes *texts, and messages name every field
  Model.find has no typed RPC: it has hints (Model.find) that cannot be resolved: name 'Text' is not
    defined
  Model.pages has no typed RPC: its result is an iterator, but it has no `yield`; return a list
"""

from collections.abc import Callable, Iterator

from starlette.requests import Request

from meshgen import serve


class Image:
    pass


@serve.deployment
class Model:
    def __call__(self, request: Request) -> str:
        return "hello"

    def apply(self, function: Callable[[int], int]) -> int:
        return function(1)

    def draw(self, image: Image) -> Image:
        return image

    def embed(self, *texts: str) -> list[float]:
        return [len(text) for text in texts]

    def find(self, text: "Text") -> str:  # noqa: F821 - the mistake
        return text

    def count(self, to: int) -> int:
        yield from range(to)

    def pages(self) -> Iterator[str]:
        return iter(())


app = Model.bind()
