"""The function was not made a deployment, and takes too much to build an application.

error: tests/broken/plain_function.py:app is a plain function where a bound application was meant;
  decorate it with @serve.deployment and bind it, or give it exactly one parameter (a dict of its
  name=value arguments, or a pydantic model) and return an application
"""


def app(left, right):
    return left + right
