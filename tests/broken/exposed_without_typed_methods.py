"""Outsiders can only call typed methods, and this deployment has none.

error: Model: it is exposed, but outsiders could call none of its methods; give one hints that make
  it a typed RPC, or leave out expose=True
error: Model.embed has no typed RPC: it takes *texts, and messages name every field
"""

from meshgen import serve


@serve.deployment(expose=True)
class Model:
    def embed(self, *texts):
        return texts


@serve.deployment
class Front:
    def __init__(self, model):
        self.model = model

    def ask(self, text: str) -> str:
        return text


app = Front.bind(Model.bind())
