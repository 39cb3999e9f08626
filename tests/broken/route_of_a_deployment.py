"""A route belongs to an application; deployments have none.

error: route_of_a_deployment cannot be imported: @serve.deployment(route_prefix=...) is not for a
  mesh: pass `route_prefix` to `serve.run` (tests/broken/route_of_a_deployment.py, line 12); correct
  that line:
    @serve.deployment(route_prefix="/model")
"""

from meshgen import serve


@serve.deployment(route_prefix="/model")
class Model:
    pass


app = Model.bind()
