# error: function_of_a_request.py:app is a plain function where a bound application was meant
from starlette.requests import Request


def app(request: Request):
    return "hello"
