"""The function that builds the application returns a deployment that is not bound.

error: tests/broken/builder_forgot_to_bind.py:app is a function that returned a deployment that was
  not bound; did you mean Model.bind()?
"""

from meshgen import serve


@serve.deployment
class Model:
    pass


def app(arguments):
    return Model
