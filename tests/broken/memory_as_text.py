"""Memory is a number of bytes.

error: memory_as_text cannot be imported: memory of ray_actor_options must be a number, got '2GB'
  (tests/broken/memory_as_text.py, line 11); correct that line:
    @serve.deployment(ray_actor_options={"memory": "2GB"})
"""

from meshgen import serve


@serve.deployment(ray_actor_options={"memory": "2GB"})
class Model:
    pass


app = Model.bind()
