"""The attribute is a number.

error: tests/broken/not_an_application.py:app is no application but 'int'; name what
  Deployment.bind() returned, as in app = Model.bind()
"""

app = 3
