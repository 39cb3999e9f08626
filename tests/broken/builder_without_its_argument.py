"""The model of the builder's arguments has a field that was not given.

error: tests/broken/builder_without_its_argument.py:app takes other arguments than were given (size:
  Field required); give each as name=value, as in size=large
"""

from pydantic import BaseModel

from meshgen import serve


class Arguments(BaseModel):
    size: int


@serve.deployment
class Model:
    def __init__(self, size):
        self.size = size


def app(arguments: Arguments):
    return Model.bind(arguments.size)
