"""A deployment has one replica at least.

error: no_replicas cannot be imported: num_replicas must be at least 1, got 0
  (tests/broken/no_replicas.py, line 11); correct that line:
    @serve.deployment(num_replicas=0)
"""

from meshgen import serve


@serve.deployment(num_replicas=0)
class Model:
    pass


app = Model.bind()
