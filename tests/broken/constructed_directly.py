"""A deployment is bound and then called by its handle; here nothing runs yet.

error: constructed_directly cannot be imported: Model is a deployment and cannot be called or
  constructed directly: bind it (Model.bind(...)) and call it through its handle
  (tests/broken/constructed_directly.py, line 17); correct that line:
    app = Model()
"""

from meshgen import serve


@serve.deployment
class Model:
    pass


app = Model()
