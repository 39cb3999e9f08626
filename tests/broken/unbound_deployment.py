"""A deployment is named where its application is meant: `.bind()` is missing.

error: tests/broken/unbound_deployment.py:app is a deployment that was not bound; did you mean
  Model.bind()?
"""

from meshgen import serve


@serve.deployment
class Model:
    pass


app = Model
