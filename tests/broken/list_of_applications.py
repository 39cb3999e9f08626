"""One application has one ingress.

error: tests/broken/list_of_applications.py:app is no application but 'list'; name what
  Deployment.bind() returned, as in app = Model.bind()
"""

from meshgen import serve


@serve.deployment
class Model:
    pass


app = [Model.bind(), Model.bind()]
