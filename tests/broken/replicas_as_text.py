"""A number is a number, also where it comes from a file of settings.

error: replicas_as_text cannot be imported: num_replicas must be a whole number, got '2'
  (tests/broken/replicas_as_text.py, line 16); correct that line:
    app = Model.options(num_replicas="2").bind()
"""

from meshgen import serve


@serve.deployment
class Model:
    pass


app = Model.options(num_replicas="2").bind()
