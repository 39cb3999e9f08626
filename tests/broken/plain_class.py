"""The class was not made a deployment, and not bound.

error: tests/broken/plain_class.py:app is no application but the class app; name what
  Deployment.bind() returned, as in app = Model.bind()
"""


class app:
    pass
