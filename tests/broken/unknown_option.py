"""There is no such option.

error: unknown_option cannot be imported: @serve.deployment has no option 'replicas'
  (tests/broken/unknown_option.py, line 11); correct that line:
    @serve.deployment(replicas=2)
"""

from meshgen import serve


@serve.deployment(replicas=2)
class Model:
    pass


app = Model.bind()
