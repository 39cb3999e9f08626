"""The gateway is a service of the mesh's own.

error: Gateway: this name would become 'gateway', which is the mesh's own service; give another with
  .options(name=...)
"""

from meshgen import serve


@serve.deployment
class Gateway:
    pass


app = Gateway.bind()
