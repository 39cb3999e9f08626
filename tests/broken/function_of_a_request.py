"""A function that answers HTTP is a deployment: it needs `@serve.deployment` and `.bind()`.

error: tests/broken/function_of_a_request.py:app is a plain function where a bound application was
  meant; decorate it with @serve.deployment and bind it, or give it exactly one parameter (a dict of
  its name=value arguments, or a pydantic model) and return an application
"""

from starlette.requests import Request


def app(request: Request):
    return "hello"
