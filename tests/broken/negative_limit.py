"""A replica runs one call at a time at least.

error: negative_limit cannot be imported: max_ongoing_requests must be at least 1, got -1
  (tests/broken/negative_limit.py, line 11); correct that line:
    @serve.deployment(max_ongoing_requests=-1)
"""

from meshgen import serve


@serve.deployment(max_ongoing_requests=-1)
class Model:
    pass


app = Model.bind()
